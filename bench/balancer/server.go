package balancer

import (
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Server is a command that runs.
type Server struct {
	*exec.Cmd
	Log   *Journal      // what the command writes; not what goes to a Stdout or Stderr of its own
	Ended chan struct{} // closed when it has ended
}

// Start starts a command. It is killed at the end of the test at the latest.
func Start(t *testing.T, command *exec.Cmd) *Server {
	t.Helper()
	p := Launch(t, command)
	t.Cleanup(p.Kill)
	return p
}

// Launch starts a command that may outlive the test.
func Launch(t *testing.T, command *exec.Cmd) *Server {
	t.Helper()
	p := &Server{Cmd: command, Log: &Journal{}, Ended: make(chan struct{})}
	if p.Stdout == nil {
		p.Stdout = p.Log
	}
	if p.Stderr == nil {
		p.Stderr = p.Log
	}
	if err := p.Cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.Ended)
		_ = p.Wait() // the exit code is in ProcessState
	}()
	return p
}

// HasEnded reports whether the process has ended.
func (p *Server) HasEnded() bool {
	select {
	case <-p.Ended:
		return true
	default:
		return false
	}
}

// Kill ends the process by SIGKILL and waits for it. One that has ended is left as it is.
func (p *Server) Kill() {
	_ = p.Process.Kill() // fails where it has ended
	<-p.Ended
}

// End ends the process by SIGTERM and waits for it, at most for limit.
func (p *Server) End(t *testing.T, limit time.Duration) (took time.Duration) {
	t.Helper()
	begun := time.Now()
	p.signal(t, syscall.SIGTERM)
	select {
	case <-p.Ended:
	case <-time.After(limit):
		t.Fatalf("the process does not end:\n%s", Shortened(p.Log.String()))
	}
	return time.Since(begun)
}

// Freeze stops the process where it is.
func (p *Server) Freeze(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGSTOP)
}

// Thaw lets a frozen process go on.
func (p *Server) Thaw(t *testing.T) {
	t.Helper()
	p.signal(t, syscall.SIGCONT)
}

func (p *Server) signal(t *testing.T, s syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(s); err != nil {
		t.Fatalf("%v: %v", s, err)
	}
}
