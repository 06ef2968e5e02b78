package http2

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestFrameCheck(t *testing.T) {
	for _, test := range []struct {
		name string
		f    frame
		want *fault // nil: nothing is wrong
	}{
		{"DATA", frame{kind: frameData, stream: 1, size: maxFrameSize}, nil},
		{"DATA that is too large", frame{kind: frameData, stream: 1, size: maxFrameSize + 1}, connFault(codeFrameSize)},
		{"DATA without a stream", frame{kind: frameData}, connFault(codeProtocol)},
		{"HEADERS without a stream", frame{kind: frameHeaders}, connFault(codeProtocol)},
		{"PRIORITY", frame{kind: framePriority, stream: 1, size: 5}, nil},
		{"PRIORITY of another size", frame{kind: framePriority, stream: 3, size: 4}, &fault{codeFrameSize, 3}},
		{"RST_STREAM of another size", frame{kind: frameReset, stream: 1, size: 5}, connFault(codeFrameSize)},
		{"RST_STREAM without a stream", frame{kind: frameReset, size: 4}, connFault(codeProtocol)},
		{"SETTINGS", frame{kind: frameSettings, size: 12}, nil},
		{"SETTINGS of a stream", frame{kind: frameSettings, stream: 1}, connFault(codeProtocol)},
		{"half of a setting", frame{kind: frameSettings, size: 8}, connFault(codeFrameSize)},
		{"an acknowledgement with settings", frame{kind: frameSettings, size: 6, flags: flagAck}, connFault(codeFrameSize)},
		{"PUSH_PROMISE", frame{kind: framePush, stream: 1, size: 4}, connFault(codeProtocol)},
		{"PING of another size", frame{kind: framePing, size: 7}, connFault(codeFrameSize)},
		{"PING of a stream", frame{kind: framePing, stream: 1, size: 8}, connFault(codeProtocol)},
		{"a short GOAWAY", frame{kind: frameGoAway, size: 7}, connFault(codeFrameSize)},
		{"GOAWAY with a text", frame{kind: frameGoAway, size: 100}, nil},
		{"WINDOW_UPDATE", frame{kind: frameWindow, stream: 1, size: 4}, nil},
		{"WINDOW_UPDATE of the connection", frame{kind: frameWindow, size: 4}, nil},
		{"WINDOW_UPDATE of another size", frame{kind: frameWindow, size: 3}, connFault(codeFrameSize)},
		{"CONTINUATION without a stream", frame{kind: frameContinuation}, connFault(codeProtocol)},
		{"a frame of no kind that is known", frame{kind: 0x42, stream: 2, size: 3}, nil},
	} {
		got := test.f.check()
		if (got == nil) != (test.want == nil) || got != nil && *got != *test.want {
			t.Errorf("%s: %+v, want %+v", test.name, got, test.want)
		}
	}
}

func TestPadding(t *testing.T) {
	for _, test := range []struct {
		flags   flags
		payload string
		want    string
		ok      bool
	}{
		{0, "\x05abc", "\x05abc", true},
		{flagPadded, "\x02abcd", "ab", true},
		{flagPadded, "\x00ab", "ab", true},
		{flagPadded, "\x03abc", "", true},
		{flagPadded, "\x04abc", "", false},
		{flagPadded, "", "", false},
	} {
		f := frame{flags: test.flags, payload: []byte(test.payload)}
		if got, ok := f.unpadded(); string(got) != test.want || ok != test.ok {
			t.Errorf("flags %x, %q: %q, %v, want %q, %v", test.flags, test.payload, got, ok, test.want, test.ok)
		}
	}
}

func TestFragment(t *testing.T) {
	for _, test := range []struct {
		flags   flags
		payload string
		want    string
		why     *fault
	}{
		{0, "block", "block", nil},
		{flagPriority, "\x00\x00\x00\x03\x10block", "block", nil},
		{flagPriority, "\x80\x00\x00\x01\x10block", "block", &fault{codeProtocol, 1}},
		{flagPriority, "\x00\x00\x00\x03", "", connFault(codeProtocol)},
		{flagPriority | flagPadded, "\x02\x00\x00\x00\x03\x10block\x00\x00", "block", nil},
		{flagPriority | flagPadded, "\x04\x00\x00\x00\x03\x10abc", "", connFault(codeProtocol)},
	} {
		f := frame{flags: test.flags, stream: 1, payload: []byte(test.payload)}
		got, why := f.fragment()
		if string(got) != test.want || (why == nil) != (test.why == nil) || why != nil && *why != *test.why {
			t.Errorf("flags %x, %q: %q, %+v, want %q, %+v", test.flags, test.payload, got, why, test.want, test.why)
		}
	}
}

// TestFrames reads back what is appended, however it comes.
func TestFrames(t *testing.T) {
	large := strings.Repeat("x", 2*maxFrameSize+1)
	raw := appendSettings([]byte(preface), setting{settingStreams, 250}, setting{settingNoPriorities, 1})
	raw = appendWindow(raw, 0, 1000)
	raw = appendPing(raw, flagAck, []byte("12345678"))
	raw = appendBlock(raw, 5, flagEndStream, []byte(large))
	raw = appendReset(raw, 7, codeRefusedStream)
	raw = appendGoAway(raw, maxStreamID, codeEnhanceCalm)
	want := []frame{
		{kind: frameSettings, size: 12}, {kind: frameWindow, size: 4}, {kind: framePing, flags: flagAck, size: 8},
		{kind: frameHeaders, flags: flagEndStream, stream: 5, size: maxFrameSize}, {kind: frameContinuation, stream: 5, size: maxFrameSize},
		{kind: frameContinuation, flags: flagEndHeaders, stream: 5, size: 1}, {kind: frameReset, stream: 7, size: 4}, {kind: frameGoAway, size: 8},
	}
	for name, from := range map[string]io.Reader{
		"at once": bytes.NewReader(raw), "byte by byte": iotest.OneByteReader(bytes.NewReader(raw)), "in halves": iotest.HalfReader(bytes.NewReader(raw)),
	} {
		r := frameReader{from: from}
		if ok, err := r.preface(preface); !ok || err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var block []byte
		for _, w := range want {
			f, why, err := r.next()
			if err != nil || why != nil {
				t.Fatalf("%s: %+v, %v", name, why, err)
			}
			if f.kind == frameHeaders || f.kind == frameContinuation {
				block = append(block, f.payload...)
			}
			got := *f
			got.payload = nil
			if got.kind != w.kind || got.flags != w.flags || got.stream != w.stream || got.size != w.size {
				t.Errorf("%s: %+v, want %+v", name, got, w)
			}
		}
		if string(block) != large {
			t.Errorf("%s: a block of %d bytes came as %d", name, len(large), len(block))
		}
		if _, _, err := r.next(); err != io.EOF {
			t.Errorf("%s: at the end: %v", name, err)
		}
		r.settle()
	}
}

// TestReaderHoldsLittle sees that a connection that waits holds no large buffer.
func TestReaderHoldsLittle(t *testing.T) {
	from, to := net.Pipe()
	defer to.Close()
	r := frameReader{from: from}
	large := string(appendFrame(nil, frameData, 0, 1, maxFrameSize)) + strings.Repeat("x", maxFrameSize)
	go func() { _, _ = io.WriteString(to, large+string(appendPing(nil, 0, []byte("12345678")))) }()
	if _, _, err := r.next(); err != nil || r.large == nil {
		t.Fatalf("a large frame: %v", err)
	}
	if f, _, err := r.next(); err != nil || f.kind != framePing {
		t.Fatalf("a frame behind it: %v", err)
	}
	_ = from.SetReadDeadline(time.Now())
	if _, _, err := r.next(); err == nil || r.large != nil {
		t.Errorf("while nothing comes the large buffer is there: %v, %v", r.large != nil, err)
	}
}
