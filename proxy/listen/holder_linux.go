package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// stateListen is TCP_LISTEN as /proc/net/tcp writes it (include/net/tcp_states.h of the kernel).
const stateListen = "0A"

// portHolder describes the process that listens where addr (host:port) would: "held by nginx (pid
// 123)". It returns "" if there is none, if addr is not a TCP address, and if the system does not
// tell. It reads /proc, which takes milliseconds: it is meant for the message that a port is taken.
func portHolder(addr string) string {
	return portHolderIn("/proc", addr)
}

func portHolderIn(proc, addr string) string {
	tcpAddr, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil || tcpAddr.Port == 0 {
		return ""
	}
	// For ":8080", which means every address, the address in want is invalid.
	want := netip.AddrPortFrom(tcpAddr.AddrPort().Addr().Unmap(), uint16(tcpAddr.Port))
	for _, table := range []string{"net/tcp", "net/tcp6"} {
		s, ok := findListener(filepath.Join(proc, table), want)
		if !ok {
			continue
		}
		if pid, name := socketOwner(proc, s.inode); pid != "" {
			return fmt.Sprintf("held by %s (pid %s)", name, pid)
		}
		// The files of other users' processes are not readable, but the table names the user.
		return fmt.Sprintf("held by a process of user id %s", s.uid)
	}
	return ""
}

// listener is a listening socket in /proc/net/tcp.
type listener struct {
	uid, inode string
}

// findListener returns the first listening socket of the table that prevents listening on want.
func findListener(table string, want netip.AddrPort) (listener, bool) {
	f, err := os.Open(table)
	if err != nil {
		return listener{}, false
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// Fields: sl local_address rem_address st queues timer retransmits uid timeout inode …
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || fields[3] != stateListen {
			continue
		}
		local, ok := parseSocketAddr(fields[1])
		if ok && local.Port() == want.Port() && overlap(local.Addr(), want.Addr()) {
			return listener{uid: fields[7], inode: fields[9]}, true
		}
	}
	return listener{}, false
}

// overlap reports whether sockets on the two addresses cannot share a port: the addresses are
// equal, or one is the wildcard.
func overlap(a, b netip.Addr) bool {
	wild := func(a netip.Addr) bool { return !a.IsValid() || a.IsUnspecified() }
	return wild(a) || wild(b) || a == b.WithZone("")
}

// parseSocketAddr parses an address of /proc/net/tcp, such as 0100007F:1F90 for 127.0.0.1:8080. The
// address is printed in 32-bit words in the machine's byte order.
func parseSocketAddr(s string) (netip.AddrPort, bool) {
	addrHex, portHex, _ := strings.Cut(s, ":")
	port, err := strconv.ParseUint(portHex, 16, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	raw, err := hex.DecodeString(addrHex)
	if err != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for word := raw; len(word) > 0; word = word[4:] {
		binary.BigEndian.PutUint32(word, binary.NativeEndian.Uint32(word))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok
}

// socketOwner returns the pid and name of the first process that has the socket open, or "" if none
// is visible.
func socketOwner(proc, inode string) (pid, name string) {
	link := "socket:[" + inode + "]"
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*/fd/*")) // the pattern is valid: no other error can come
	for _, file := range files {
		if target, err := os.Readlink(file); err != nil || target != link {
			continue
		}
		dir := filepath.Dir(filepath.Dir(file))
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil {
			continue // the process has just ended
		}
		return filepath.Base(dir), string(bytes.TrimSpace(comm))
	}
	return "", ""
}

// socketHolder describes the process that listens on the unix socket of a connection, as portHolder
// does.
func socketHolder(conn *net.UnixConn) string {
	raw, err := conn.SyscallConn()
	if err != nil {
		return ""
	}
	var peer *syscall.Ucred
	_ = raw.Control(func(fd uintptr) {
		peer, _ = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	})
	if peer == nil || peer.Pid == 0 { // of another container, for one
		return ""
	}
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", peer.Pid))
	if err != nil {
		return ""
	}
	return fmt.Sprintf("held by %s (pid %d)", bytes.TrimSpace(comm), peer.Pid)
}
