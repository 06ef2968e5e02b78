package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoStore: without limits and without the API nothing is opened or created.
func TestNoStore(t *testing.T) {
	database, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan bool, 1)
	go func() {
		if conn, err := database.Accept(); err == nil {
			conn.Close()
			asked <- true
		}
	}()
	defer database.Close()
	const off = "limiter:\n  enabled: false\nmanagement:\n  listen: \"\"\n  api_on_proxy: false\n"
	file := filepath.Join(t.TempDir(), "clients.db")
	for _, store := range []string{"file:" + file, "postgres://lb:secret@" + database.Addr().String() + "/lb"} {
		in := startInstance(t, testConfig(t, freeAddresses(t, 1), off, "clients:\n  store: "+store+"\n"), "--demo")
		if a := call(t, "GET", in.proxy+"/v1/api/clients/", ""); a.status != 200 || !strings.HasPrefix(a.body, "backend ") {
			t.Errorf("with %s: got %+v", store, a)
		}
		in.stop(t)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the file of the store: %v", err)
	}
	if len(asked) > 0 {
		t.Error("PostgreSQL was asked")
	}
}

// TestStoreIsNeeded by each of those that use it alone.
func TestStoreIsNeeded(t *testing.T) {
	for _, on := range []string{
		"limiter:\n  enabled: true\nmanagement:\n  listen: \"\"\n  api_on_proxy: false\n",
		"limiter:\n  enabled: false\nmanagement:\n  listen: 127.0.0.1:0\n  api_on_proxy: false\n",
		"limiter:\n  enabled: false\nmanagement:\n  listen: \"\"\n  api_on_proxy: true\n",
	} {
		file := filepath.Join(t.TempDir(), "clients.db")
		in := startInstance(t, testConfig(t, freeAddresses(t, 1), on, "clients:\n  store: file:"+file+"\n"), "--demo")
		for _, base := range []string{in.management, in.proxy} {
			if base == in.proxy && !strings.Contains(on, "api_on_proxy: true") || base == "" {
				continue
			}
			if a := call(t, "GET", base+"/v1/api/clients/", ""); a.body != "[]\n" {
				t.Errorf("%q: got %+v", on, a)
			}
		}
		in.stop(t)
		if _, err := os.Stat(file); err != nil {
			t.Errorf("%q: %v", on, err)
		}
	}
}

// TestMemoryStore: clients live as long as the process, and it says so.
func TestMemoryStore(t *testing.T) {
	t.Chdir(t.TempDir())
	config := testConfig(t, freeAddresses(t, 1), "clients:\n  store: memory\n")
	for range 2 {
		in := startInstance(t, config, "--demo")
		if a := call(t, "GET", in.management+"/v1/api/clients/", ""); a.body != "[]\n" {
			t.Errorf("got %+v", a)
		}
		if a := call(t, "POST", in.management+"/v1/api/clients/", `{"ip_address":"127.0.0.1","capacity":1,"rate_per_second":0.001}`); a.status != 201 {
			t.Errorf("got %+v", a)
		}
		for _, want := range []int{200, 429} {
			if a := call(t, "GET", in.proxy+"/", ""); a.status != want {
				t.Errorf("got %+v, want %d", a, want)
			}
		}
		if line := in.log.find("clients are not kept: those that are registered are gone when the process ends"); line["store"] != "memory" {
			t.Errorf("the log tells of the store: %v", line)
		}
		in.stop(t)
	}
	if files, _ := filepath.Glob("*"); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}
