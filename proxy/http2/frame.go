package http2

import (
	"bytes"
	"encoding/binary"
)

// frameKind is the type of a frame (RFC 9113, section 6).
type frameKind uint8

const (
	frameData frameKind = iota
	frameHeaders
	framePriority
	frameReset
	frameSettings
	framePush
	framePing
	frameGoAway
	frameWindow
	frameContinuation
)

// flags are those of a frame.
type flags uint8

const (
	flagEndStream  flags = 0x1
	flagAck        flags = 0x1
	flagEndHeaders flags = 0x4
	flagPadded     flags = 0x8
	flagPriority   flags = 0x20
)

func (f flags) has(flag flags) bool { return f&flag != 0 }

// errorCode says why a stream or a connection ends (RFC 9113, section 7).
type errorCode uint32

const (
	codeNone          errorCode = 0x0
	codeProtocol      errorCode = 0x1
	codeInternal      errorCode = 0x2
	codeFlowControl   errorCode = 0x3
	codeStreamClosed  errorCode = 0x5
	codeFrameSize     errorCode = 0x6
	codeRefusedStream errorCode = 0x7
	codeCompression   errorCode = 0x9
	codeEnhanceCalm   errorCode = 0xb
)

// The settings that are read or sent (RFC 9113, section 6.5.2, and RFC 9218, section 2.1).
const (
	settingTableSize     = 0x1
	settingPush          = 0x2
	settingStreams       = 0x3
	settingInitialWindow = 0x4
	settingFrameSize     = 0x5
	settingListSize      = 0x6
	settingNoPriorities  = 0x9
)

const (
	frameHeaderSize = 9
	maxFrameSize    = 16 << 10  // of a payload, in both directions: what every peer takes
	maxStreamID     = 1<<31 - 1 // the largest number of 31 bits
)

// frame is a frame as it was read. The payload is valid until the next is read.
type frame struct {
	kind    frameKind
	flags   flags
	stream  uint32
	size    int // of the payload, in bytes
	payload []byte
}

// fault is what is wrong with what a client has sent.
type fault struct {
	code   errorCode
	stream uint32 // 0: the connection has to end
}

// connFault returns a fault of the connection.
func connFault(code errorCode) *fault { return &fault{code: code} }

// parseHeader returns a frame without its payload.
func parseHeader(b []byte) frame {
	return frame{
		size: int(b[0])<<16 | int(b[1])<<8 | int(b[2]), kind: frameKind(b[3]), flags: flags(b[4]),
		stream: binary.BigEndian.Uint32(b[5:]) & maxStreamID,
	}
}

// place is where a frame belongs.
type place uint8

const (
	anywhere place = iota
	onConnection
	onStream
)

// shapes holds what the header of each kind of frame has to be.
var shapes = [...]struct {
	place place
	size  int // exactly; -1: any
	least int
}{
	frameData:         {onStream, -1, 0},
	frameHeaders:      {onStream, -1, 0},
	framePriority:     {onStream, 5, 0},
	frameReset:        {onStream, 4, 0},
	frameSettings:     {onConnection, -1, 0},
	framePush:         {onStream, -1, 0},
	framePing:         {onConnection, 8, 0},
	frameGoAway:       {onConnection, -1, 8},
	frameWindow:       {anywhere, 4, 0},
	frameContinuation: {onStream, -1, 0},
}

// check returns what is wrong with a frame by its header alone, or nil.
func (f *frame) check() *fault {
	if f.size > maxFrameSize {
		return connFault(codeFrameSize)
	}
	if int(f.kind) >= len(shapes) {
		return nil // unknown ones are ignored (RFC 9113, section 5.5)
	}
	shape := &shapes[f.kind]
	switch {
	case shape.place == onStream && f.stream == 0, shape.place == onConnection && f.stream != 0, f.kind == framePush:
		return connFault(codeProtocol)
	case f.kind == framePriority && f.size != shape.size:
		return &fault{codeFrameSize, f.stream}
	case shape.size >= 0 && f.size != shape.size, f.size < shape.least,
		f.kind == frameSettings && (f.size%6 != 0 || f.flags.has(flagAck) && f.size != 0):
		return connFault(codeFrameSize)
	}
	return nil
}

// unpadded returns the payload without its padding (RFC 9113, section 6.1). ok is false if there is
// more padding than payload.
func (f *frame) unpadded() (payload []byte, ok bool) {
	if !f.flags.has(flagPadded) {
		return f.payload, true
	}
	if len(f.payload) == 0 {
		return nil, false
	}
	end := len(f.payload) - int(f.payload[0])
	if end < 1 {
		return nil, false
	}
	return f.payload[1:end], true
}

// fragment returns the part of a header block that a HEADERS frame holds.
func (f *frame) fragment() (block []byte, why *fault) {
	block, ok := f.unpadded()
	if ok && f.flags.has(flagPriority) {
		if ok = len(block) >= 5; ok {
			if dependsOn(block) == f.stream {
				why = &fault{codeProtocol, f.stream}
			}
			block = block[5:]
		}
	}
	if !ok {
		return nil, connFault(codeProtocol)
	}
	return block, why
}

// dependsOn returns the stream that a priority names: no stream may depend on itself (RFC 7540,
// section 5.3.1). Nothing else of a priority is used.
func dependsOn(priority []byte) uint32 { return binary.BigEndian.Uint32(priority) & maxStreamID }

// appendFrame appends the header of a frame whose payload has this size.
func appendFrame(dst []byte, kind frameKind, f flags, stream uint32, size int) []byte {
	dst = append(dst, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(f))
	return binary.BigEndian.AppendUint32(dst, stream)
}

func appendReset(dst []byte, stream uint32, code errorCode) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(dst, frameReset, 0, stream, 4), uint32(code))
}

func appendWindow(dst []byte, stream uint32, more int) []byte {
	return binary.BigEndian.AppendUint32(appendFrame(dst, frameWindow, 0, stream, 4), uint32(more))
}

func appendGoAway(dst []byte, last uint32, code errorCode) []byte {
	dst = binary.BigEndian.AppendUint32(appendFrame(dst, frameGoAway, 0, 0, 8), last)
	return binary.BigEndian.AppendUint32(dst, uint32(code))
}

func appendPing(dst []byte, f flags, data []byte) []byte {
	return append(appendFrame(dst, framePing, f, 0, 8), data...)
}

// setting is one of a SETTINGS frame.
type setting struct {
	id    uint16
	value uint32
}

func appendSettings(dst []byte, all ...setting) []byte {
	dst = appendFrame(dst, frameSettings, 0, 0, 6*len(all))
	for _, s := range all {
		dst = binary.BigEndian.AppendUint16(dst, s.id)
		dst = binary.BigEndian.AppendUint32(dst, s.value)
	}
	return dst
}

// finishBlock makes HEADERS of what is behind the space for the header of a frame, which begins there.
func finishBlock(b []byte, at int, stream uint32, f flags) []byte {
	block := b[at+frameHeaderSize:]
	if len(block) > maxFrameSize {
		return appendBlock(b[:at], stream, f, bytes.Clone(block))
	}
	appendFrame(b[:at], frameHeaders, f|flagEndHeaders, stream, len(block))
	return b
}

// appendBlock appends a header block as HEADERS and as many CONTINUATION as it needs.
func appendBlock(dst []byte, stream uint32, f flags, block []byte) []byte {
	kind := frameHeaders
	for {
		part := block[:min(len(block), maxFrameSize)]
		if block = block[len(part):]; len(block) == 0 {
			f |= flagEndHeaders
		}
		dst = append(appendFrame(dst, kind, f, stream, len(part)), part...)
		if len(block) == 0 {
			return dst
		}
		kind, f = frameContinuation, 0
	}
}
