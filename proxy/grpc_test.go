package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/interop"
	testgrpc "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/stats"
	grpcstatus "google.golang.org/grpc/status"
)

// startGRPCBackend serves gRPC's interop service until the test ends, and returns the server and its
// URL.
func startGRPCBackend(t testing.TB, service testgrpc.TestServiceServer, o ...grpc.ServerOption) (*grpc.Server, string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(o...)
	testgrpc.RegisterTestServiceServer(s, service)
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(ln) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return s, "h2c://" + ln.Addr().String()
}

// grpcOptions returns options for backends of gRPC, to clients of HTTP/2 in the clear.
func grpcOptions(urls ...string) Options {
	o := testOptions(urls...)
	o.Server.H2C = true
	return o
}

// dialGRPC connects to the proxy until the test ends.
func dialGRPC(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func withinTime(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// TestGRPCInterop runs the cases of gRPC's interop tests that apply through the balancer. A case that
// fails ends the process with its message.
func TestGRPCInterop(t *testing.T) {
	_, url := startGRPCBackend(t, interop.NewTestServer())
	p, address := startProxy(t, grpcOptions(url))
	conn := dialGRPC(t, address)
	client := testgrpc.NewTestServiceClient(conn)
	for name, do := range map[string]func(ctx context.Context){
		"empty_unary":                 func(ctx context.Context) { interop.DoEmptyUnaryCall(ctx, client) },
		"large_unary":                 func(ctx context.Context) { interop.DoLargeUnaryCall(ctx, client) },
		"client_streaming":            func(ctx context.Context) { interop.DoClientStreaming(ctx, client) },
		"server_streaming":            func(ctx context.Context) { interop.DoServerStreaming(ctx, client) },
		"ping_pong":                   func(ctx context.Context) { interop.DoPingPong(ctx, client) },
		"empty_stream":                func(ctx context.Context) { interop.DoEmptyStream(ctx, client) },
		"timeout_on_sleeping_server":  func(ctx context.Context) { interop.DoTimeoutOnSleepingServer(ctx, client) },
		"cancel_after_begin":          func(ctx context.Context) { interop.DoCancelAfterBegin(ctx, client) },
		"cancel_after_first_response": func(ctx context.Context) { interop.DoCancelAfterFirstResponse(ctx, client) },
		"status_code_and_message":     func(ctx context.Context) { interop.DoStatusCodeAndMessage(ctx, client) },
		"special_status_message":      func(ctx context.Context) { interop.DoSpecialStatusMessage(ctx, client) },
		"custom_metadata":             func(ctx context.Context) { interop.DoCustomMetadata(ctx, client) },
		"unimplemented_method":        func(ctx context.Context) { interop.DoUnimplementedMethod(ctx, conn) },
		"unimplemented_service": func(ctx context.Context) {
			interop.DoUnimplementedService(ctx, testgrpc.NewUnimplementedServiceClient(conn))
		},
	} {
		t.Run(name, func(t *testing.T) { do(withinTime(t)) })
	}
	t.Run("concurrent large streams", func(*testing.T) {
		var wait sync.WaitGroup
		for range 20 {
			wait.Go(func() {
				for range 5 {
					interop.DoLargeUnaryCall(context.Background(), client)
					interop.DoPingPong(context.Background(), client)
					interop.DoServerStreaming(context.Background(), client)
				}
			})
		}
		wait.Wait()
	})
	waitIdle(t, p)
}

// counting is a service that counts the calls of each backend, and can wait.
type counting struct {
	testgrpc.UnimplementedTestServiceServer
	calls atomic.Int64
	ended atomic.Int64 // calls of FullDuplexCall whose context has ended
}

func (s *counting) EmptyCall(context.Context, *testgrpc.Empty) (*testgrpc.Empty, error) {
	s.calls.Add(1)
	return &testgrpc.Empty{}, nil
}

// FullDuplexCall sends each message back.
func (s *counting) FullDuplexCall(stream testgrpc.TestService_FullDuplexCallServer) error {
	s.calls.Add(1)
	defer s.ended.Add(1)
	for {
		r, err := stream.Recv()
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = stream.Send(&testgrpc.StreamingOutputCallResponse{Payload: r.Payload})
		}
		if err != nil {
			return err
		}
	}
}

// TestGRPCBalancesCalls makes calls on one connection. Each backend gets its share.
func TestGRPCBalancesCalls(t *testing.T) {
	t.Parallel()
	var services [3]counting
	var urls []string
	for i := range services {
		_, url := startGRPCBackend(t, &services[i])
		urls = append(urls, url)
	}
	_, address := startProxy(t, grpcOptions(urls...))
	client := testgrpc.NewTestServiceClient(dialGRPC(t, address))
	for range 300 {
		if _, err := client.EmptyCall(withinTime(t), &testgrpc.Empty{}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range services {
		if n := services[i].calls.Load(); n != 100 {
			t.Errorf("backend %d has got %d calls of 300", i, n)
		}
	}
}

// TestGRPCLimit has a client over its limit.
func TestGRPCLimit(t *testing.T) {
	t.Parallel()
	_, url := startGRPCBackend(t, interop.NewTestServer())
	o := grpcOptions(url)
	o.Limiter = limits(2, 0.5)
	log := &logLines{}
	o.Access, o.Log = AccessAll, zerolog.New(log)
	_, address := startProxy(t, o)
	client := testgrpc.NewTestServiceClient(dialGRPC(t, address))
	for i := range 3 {
		var trailer metadata.MD
		_, err := client.EmptyCall(withinTime(t), &testgrpc.Empty{}, grpc.Trailer(&trailer))
		if i < 2 {
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if grpcstatus.Code(err) != codes.ResourceExhausted || !strings.Contains(grpcstatus.Convert(err).Message(), "rate limit") {
			t.Errorf("got %v, want ResourceExhausted", err)
		}
		if ms, err := strconv.Atoi(strings.Join(trailer.Get("grpc-retry-pushback-ms"), ",")); err != nil || ms < 1 || ms > 2000 {
			t.Errorf("pushback of %d ms, want 1 to 2000 (%v)", ms, trailer)
		}
	}
	eventually(t, "three lines in the log", func() bool { return len(log.parsed(t)) == 3 })
	lines := log.parsed(t)
	checkLine(t, lines[1], map[string]any{"status": 200.0, "grpc_status": 0.0, "reason": nil})
	checkLine(t, lines[2], map[string]any{"status": 200.0, "grpc_status": 8.0, "reason": "limited"})
}

// TestGRPCFailures has calls fail in the balancer. Each gets its status of gRPC.
func TestGRPCFailures(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		url  func(*testing.T) string
		want codes.Code
	}{
		"no listener": {func(t *testing.T) string { return "h2c://" + closedPort(t) }, codes.Unavailable},
		"HTTP/1": {func(t *testing.T) string {
			return startH2CBackend(t, answerAll("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"))
		}, codes.Unavailable},
		"silent": {func(t *testing.T) string {
			return startH2CBackend(t, func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) })
		}, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := grpcOptions(test.url(t))
			shortTimeouts(&o)
			_, address := startProxy(t, o)
			_, err := testgrpc.NewTestServiceClient(dialGRPC(t, address)).EmptyCall(withinTime(t), &testgrpc.Empty{})
			if grpcstatus.Code(err) != test.want {
				t.Errorf("got %v, want %s", err, test.want)
			}
		})
	}
}

// TestGRPCBackendDies kills the backend of a stream.
func TestGRPCBackendDies(t *testing.T) {
	t.Parallel()
	s, url := startGRPCBackend(t, new(counting))
	_, address := startProxy(t, grpcOptions(url))
	stream, err := testgrpc.NewTestServiceClient(dialGRPC(t, address)).FullDuplexCall(withinTime(t))
	if err != nil {
		t.Fatal(err)
	}
	sendBack(t, stream, "a")
	s.Stop()
	if _, err := stream.Recv(); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
	if _, err := testgrpc.NewTestServiceClient(dialGRPC(t, address)).EmptyCall(withinTime(t), &testgrpc.Empty{}); grpcstatus.Code(err) != codes.Unavailable {
		t.Errorf("got %v, want Unavailable", err)
	}
}

// sendBack sends a message and gets it back.
func sendBack(t *testing.T, stream testgrpc.TestService_FullDuplexCallClient, text string) {
	t.Helper()
	if err := stream.Send(&testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: []byte(text)}}); err != nil {
		t.Fatal(err)
	}
	r, err := stream.Recv()
	if err != nil || string(r.Payload.Body) != text {
		t.Fatalf("got %v, %v, want %q", r, err, text)
	}
}

// TestGRPCSilence has a stream be silent for longer than the time-outs of HTTP.
func TestGRPCSilence(t *testing.T) {
	t.Parallel()
	service := new(counting)
	_, url := startGRPCBackend(t, service)
	o := grpcOptions(url)
	o.Server.BodyTimeout = 200 * time.Millisecond
	setResponseHeader(&o, 200*time.Millisecond)
	_, address := startProxy(t, o)
	stream, err := testgrpc.NewTestServiceClient(dialGRPC(t, address)).FullDuplexCall(withinTime(t))
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(700 * time.Millisecond)
	for range 2 {
		sendBack(t, stream, "a")
		time.Sleep(700 * time.Millisecond)
	}
	// Then the client reads nothing, so that the backend cannot send.
	large := &testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: randomBytes(1 << 20)}}
	go func() {
		for range 4 {
			_ = stream.Send(large)
		}
		_ = stream.CloseSend()
	}()
	time.Sleep(700 * time.Millisecond)
	for range 4 {
		if r, err := stream.Recv(); err != nil || len(r.Payload.Body) != 1<<20 {
			t.Fatal(err)
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
}

// TestGRPCCancel has the client leave. The backend's work ends.
func TestGRPCCancel(t *testing.T) {
	t.Parallel()
	service := new(counting)
	_, url := startGRPCBackend(t, service)
	_, address := startProxy(t, grpcOptions(url))
	ctx, cancel := context.WithCancel(withinTime(t))
	stream, err := testgrpc.NewTestServiceClient(dialGRPC(t, address)).FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sendBack(t, stream, "a")
	cancel()
	eventually(t, "the backend's work to end", func() bool { return service.ended.Load() == 1 })
}

// TestGRPCGoAway has a backend end its connections gracefully again and again, under load. No call is
// lost.
func TestGRPCGoAway(t *testing.T) {
	t.Parallel()
	var urls []string
	for range 2 {
		_, url := startGRPCBackend(t, new(counting), grpc.KeepaliveParams(maxAge(30*time.Millisecond)))
		urls = append(urls, url)
	}
	p, address := startProxy(t, grpcOptions(urls...))
	client := testgrpc.NewTestServiceClient(dialGRPC(t, address))
	var wait sync.WaitGroup
	var failed sync.Map
	for range 8 {
		wait.Go(func() {
			for end := time.Now().Add(2 * time.Second); time.Now().Before(end); {
				if _, err := client.EmptyCall(context.Background(), &testgrpc.Empty{}); err != nil {
					failed.Store(err.Error(), true)
				}
			}
		})
	}
	wait.Wait()
	failed.Range(func(err, _ any) bool { t.Error(err); return true })
	mustHaveNoErrors(t, p)
}

// connCounter counts the connections to a backend.
type connCounter struct{ n atomic.Int64 }

func (c *connCounter) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (c *connCounter) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context   { return ctx }
func (c *connCounter) HandleRPC(context.Context, stats.RPCStats)                         {}
func (c *connCounter) HandleConn(_ context.Context, s stats.ConnStats) {
	if _, ok := s.(*stats.ConnBegin); ok {
		c.n.Add(1)
	}
}

// TestGRPCStreamsPerConnection has more streams than a backend allows on a connection.
func TestGRPCStreamsPerConnection(t *testing.T) {
	t.Parallel()
	conns := new(connCounter)
	_, url := startGRPCBackend(t, new(counting), grpc.MaxConcurrentStreams(10), grpc.StatsHandler(conns))
	_, address := startProxy(t, grpcOptions(url))
	client := testgrpc.NewTestServiceClient(dialGRPC(t, address))
	for range 35 {
		stream, err := client.FullDuplexCall(withinTime(t))
		if err != nil {
			t.Fatal(err)
		}
		sendBack(t, stream, "a")
	}
	if n := conns.n.Load(); n != 4 {
		t.Errorf("%d connections for 35 streams of 10 each, want 4", n)
	}
}

// maxAge ends each connection after a time.
func maxAge(d time.Duration) keepalive.ServerParameters {
	return keepalive.ServerParameters{MaxConnectionAge: d, MaxConnectionAgeGrace: 5 * time.Second}
}

// TestGRPCHealth has backends, in the clear and by TLS, say by grpc.health.v1 whether they serve.
func TestGRPCHealth(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS: ", secure), func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			url, o := "h2c://"+ln.Addr().String(), []grpc.ServerOption(nil)
			if secure {
				url = "https://" + ln.Addr().String()
				o = append(o, grpc.Creds(credentials.NewTLS(&tls.Config{Certificates: testServerCertificates()})))
			}
			s, states := grpc.NewServer(o...), health.NewServer()
			testgrpc.RegisterTestServiceServer(s, new(counting))
			healthgrpc.RegisterHealthServer(s, states)
			states.SetServingStatus("shop.v1.Cart", healthgrpc.HealthCheckResponse_SERVING)
			done := make(chan struct{})
			go func() { defer close(done); _ = s.Serve(ln) }()
			t.Cleanup(func() { s.Stop(); <-done })

			of := grpcOptions(url)
			overHTTP2(t, &of)
			pool := of.Pools["main"]
			pool.Health.GRPC, pool.Health.Interval = "shop.v1.Cart", 20*time.Millisecond
			of.Pools["main"] = pool
			p, address := startProxy(t, of)
			ctx, stop := context.WithCancel(context.Background())
			checks := make(chan struct{})
			go func() { defer close(checks); p.RunChecks(ctx) }()
			t.Cleanup(func() { stop(); <-checks })
			client := testgrpc.NewTestServiceClient(dialGRPC(t, address))
			becomes := func(want codes.Code) {
				t.Helper()
				eventually(t, want.String(), func() bool {
					_, err := client.EmptyCall(withinTime(t), &testgrpc.Empty{})
					return grpcstatus.Code(err) == want
				})
			}
			up := func() string {
				return metric(p, fmt.Sprintf("lb_backend_up{pool=\"main\",backend=%q}", strings.TrimPrefix(url, "h2c://")))
			}
			becomes(codes.OK)
			states.SetServingStatus("shop.v1.Cart", healthgrpc.HealthCheckResponse_NOT_SERVING)
			eventually(t, "the backend to be out", func() bool { return up() == "0" })
			states.SetServingStatus("shop.v1.Cart", healthgrpc.HealthCheckResponse_SERVING)
			eventually(t, "the backend to be back", func() bool { return up() == "1" })
			becomes(codes.OK)
		})
	}
}

// TestGRPCLargeStreams sends 64 MiB, with -long 1 GiB, both ways on one stream in bounded memory.
func TestGRPCLargeStreams(t *testing.T) {
	size := 64 << 20
	if *long {
		size = 1 << 30
	}
	_, url := startGRPCBackend(t, new(counting))
	_, address := startProxy(t, grpcOptions(url))
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	stream, err := testgrpc.NewTestServiceClient(dialGRPC(t, address)).FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	message := &testgrpc.StreamingOutputCallRequest{Payload: &testgrpc.Payload{Body: randomBytes(256 << 10)}}
	count := size / len(message.Payload.Body)
	before, heap := heapInUse(), int64(0)
	go func() {
		for range count {
			if stream.Send(message) != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	for i := range count {
		r, err := stream.Recv()
		if err != nil || !bytes.Equal(r.Payload.Body, message.Payload.Body) {
			t.Fatalf("message %d: %v", i, err)
		}
		if i%32 == 0 {
			heap = max(heap, heapInUse())
		}
	}
	if _, err := stream.Recv(); err != io.EOF {
		t.Errorf("got %v, want the end", err)
	}
	if heap-before > 40<<20 { // with what the client and the backend of gRPC take
		t.Errorf("the heap has grown by %d KiB", (heap-before)>>10)
	}
}

// TestGRPCLateCall has a backend end calls whose clients' time is over, as backends of gRPC do. That
// is no failure of the backend.
func TestGRPCLateCall(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*framedConn, uint32){
		"before the header": func(*framedConn, uint32) {},
		"in the body": func(c *framedConn, id uint32) {
			c.header(id, false, ":status", "200", "content-type", "application/grpc")
			_ = c.WriteData(id, false, []byte("\x00\x00\x00\x00\x00"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := startFramedBackend(t, func(c *framedConn, id uint32) error {
				end(c, id)
				time.Sleep(30 * time.Millisecond)
				return c.WriteRSTStream(id, http2.ErrCodeCancel)
			})
			p, address := startProxy(t, grpcOptions(url))
			client := &http.Transport{Protocols: new(http.Protocols)}
			client.Protocols.SetUnencryptedHTTP2(true)
			defer client.CloseIdleConnections()
			for range 8 { // more than ejection.failures
				r, _ := http.NewRequest("POST", "http://"+address+"/a.B/C", strings.NewReader("\x00\x00\x00\x00\x00"))
				r.Header.Set("Content-Type", "application/grpc")
				r.Header.Set("Grpc-Timeout", "10m")
				answer, err := client.RoundTrip(r)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, answer.Body)
				_ = answer.Body.Close()
				if got := answer.Header.Get("Grpc-Status") + answer.Trailer.Get("Grpc-Status"); got != "4" {
					t.Errorf("got grpc-status %q, want 4", got)
				}
			}
			if n := errorsWith(p, "response_timeout"); n != "8" {
				t.Errorf("%s errors are response_timeout", n)
			}
			if up := metric(p, fmt.Sprintf("lb_backend_errors_total{pool=\"main\",backend=%q,reason=\"response_timeout\"}", strings.TrimPrefix(url, "h2c://"))); up != "0" && up != "" {
				t.Errorf("the backend has %s errors", up)
			}
		})
	}
}
