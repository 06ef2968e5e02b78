package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// imageUser is a user that a platform may choose.
const imageUser = 1_000_680_000

// layOut makes a folder as the image has it: the binary, a config that the group may read, and a
// folder data that the group may write to.
func layOut(t *testing.T, built programs) (dir string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can run a command as another user")
	}
	dir = socketDir(t)
	binary, err := os.ReadFile(built.lb)
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		os.WriteFile(dir+"/lb", binary, 0o755),
		os.WriteFile(dir+"/lb.yaml", []byte(testConfig(t, freeAddresses(t, 1), "clients:\n  store: file:clients.db\n")), 0o640),
		os.Mkdir(dir+"/data", 0o770),
		os.Chmod(dir+"/data", 0o770), // whatever the umask
		os.Chmod(dir, 0o750),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// requireStores checks that a balancer keeps a client, and writes nothing but its store and, at the
// end, the counts of its clients' requests.
func requireStores(t *testing.T, p *process, dir string) {
	t.Helper()
	waitFor(t, "the log line of the proxy", func() bool { return p.stdout.find("proxy") != nil })
	api := "http://" + p.stdout.find("management")["listen"].(string) + "/v1/api/clients/"
	if a := call(t, "POST", api, `{"ip_address":"192.0.2.1","capacity":5,"rate_per_second":1}`); a.status != 201 {
		t.Errorf("POST: %+v", a)
	}
	p.signal(t, syscall.SIGTERM)
	p.requireExit(t, 0)
	files, err := filepath.Glob(dir + "/data/*")
	if err != nil || !slices.Equal(files, []string{dir + "/data/clients.db", dir + "/data/clients.db.usage"}) {
		t.Errorf("the working directory holds %q, %v", files, err)
	}
}

// testAnyUser runs the binary with group 0 and any user, as some platforms run the image.
func testAnyUser(t *testing.T, built programs) {
	dir := layOut(t, built)
	command := exec.Command(dir+"/lb", "--path="+dir+"/lb.yaml", "--demo")
	command.Dir = dir + "/data"
	command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: imageUser, Gid: 0}}
	requireStores(t, startJournaled(t, command), dir)
}

// testReadOnlyRoot runs it so that nothing but the folder data can be written to.
func testReadOnlyRoot(t *testing.T, built programs) {
	dir := layOut(t, built)
	const prepare = `mount --make-rprivate / && mount --bind "$1/data" "$1/data" && mount -o remount,bind,ro / && cd "$1/data" && `
	const check = `! touch "$1/x" && command -v setpriv`
	if out, err := exec.Command("unshare", "--mount", "sh", "-c", prepare+check, "sh", dir).CombinedOutput(); err != nil {
		t.Skipf("no root can be made read-only here: %v: %s", err, out)
	}
	run := fmt.Sprintf(`exec setpriv --reuid=%d --regid=0 --clear-groups "$1/lb" --path="$1/lb.yaml" --demo`, imageUser)
	command := exec.Command("unshare", "--mount", "sh", "-c", prepare+run, "sh", dir)
	requireStores(t, startJournaled(t, command), dir)
}
