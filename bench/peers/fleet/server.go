package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a redis-server or valkey-server of our own on a loopback address, which keeps nothing on disk.
type server struct {
	address string
	process *exec.Cmd
	client  *redis.Client
}

// findServer returns the path of what can be the server.
func findServer() (string, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		path, err = exec.LookPath("valkey-server")
	}
	return path, err
}

// startServer returns once the server answers.
func startServer(ctx context.Context) (*server, error) {
	path, err := findServer()
	if err != nil {
		return nil, err
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	s := &server{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}
	s.process = exec.Command(path, "--bind", "127.0.0.1", "--port", strconv.Itoa(port),
		"--save", "", "--appendonly", "no", "--dir", os.TempDir())
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	s.client = redis.NewClient(&redis.Options{Addr: s.address, MaxRetries: -1})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = s.client.Ping(ctx).Err(); err == nil {
			return s, nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%s at %s does not answer: %w", path, s.address, errors.Join(err, s.stop()))
		}
	}
}

func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return listener.Addr().(*net.TCPAddr).Port, listener.Close()
}

// stop ends the server, which reports by its exit code that it was killed.
func (s *server) stop() error {
	if err := errors.Join(s.client.Close(), s.process.Process.Kill()); err != nil {
		return err
	}
	s.process.Wait()
	return nil
}

func (s *server) empty(ctx context.Context) error { return s.client.FlushAll(ctx).Err() }

// cpu is the processor time that the server has used.
func (s *server) cpu(ctx context.Context) (used time.Duration, err error) {
	info, err := s.client.Info(ctx, "cpu").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_user" && name != "used_cpu_sys" {
			continue
		}
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("%s of the server: %w", name, err)
		}
		used += time.Duration(seconds * float64(time.Second))
	}
	return used, nil
}
