package main

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	grpccredentials "google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// TestGRPC: what an operator sees of gRPC, from TLS at the edge to checks, limits and a reload.
func TestGRPC(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server, states := grpc.NewServer(), health.NewServer()
	healthgrpc.RegisterHealthServer(server, states)
	states.SetServingStatus("shop.v1.Cart", healthgrpc.HealthCheckResponse_SERVING)
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(ln) }()
	t.Cleanup(func() { server.Stop(); <-served })
	backend := ln.Addr().String()

	e := newEdge(t)
	config := strings.Replace(testConfig(t, []string{backend},
		"server:\n  listen: 127.0.0.1:0\n  tls:\n    certificates: ["+e.write("a", "localhost")+"]\n",
		"limiter: {default: {capacity: 1000, rate_per_second: 1000}}", "log: {access: all}"), "http://"+backend, "h2c://"+backend, 1)
	config = strings.Replace(config, "path: /healthz", "grpc: shop.v1.Cart", 1)
	in := startInstance(t, config)

	trust := &tls.Config{ServerName: "localhost", RootCAs: e.Pool}
	conn, err := grpc.NewClient("passthrough:///"+strings.TrimPrefix(in.proxy, "http://"), grpc.WithTransportCredentials(grpccredentials.NewTLS(trust)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	check := func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_, err := healthgrpc.NewHealthClient(conn).Check(ctx, &healthgrpc.HealthCheckRequest{Service: "shop.v1.Cart"})
		return err
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "its line in the log", func() bool {
		line := in.log.find("request")
		return line != nil && line["grpc_status"] == 0.0 && line["proto"] == "HTTP/2.0" && line["path"] == "/grpc.health.v1.Health/Check"
	})
	states.SetServingStatus("shop.v1.Cart", healthgrpc.HealthCheckResponse_NOT_SERVING)
	waitFor(t, "its checks to fail", func() bool { return backendsOf(t, in.management)[backend].State != "up" })
	if b := backendsOf(t, in.management)[backend]; !strings.Contains(b.LastError, "NOT_SERVING") {
		t.Errorf("got %+v", b)
	}
	states.SetServingStatus("shop.v1.Cart", healthgrpc.HealthCheckResponse_SERVING)
	waitFor(t, "its checks to pass", func() bool { return backendsOf(t, in.management)[backend].State == "up" })

	in.edit(t, "capacity: 1000, rate_per_second: 1000", "capacity: 1, rate_per_second: 0.001")
	in.reload(t)
	waitFor(t, "the limit", func() bool { return status.Code(check()) == codes.ResourceExhausted })
	in.edit(t, "h2c://"+backend, "http://"+backend)
	if a := call(t, "POST", in.management+"/v1/api/reload", ""); a.status != 422 || !strings.Contains(a.body, "pools.main.health.grpc") {
		t.Errorf("a reload with checks of gRPC and a backend of HTTP/1 got %+v", a)
	}
}
