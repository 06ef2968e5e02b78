package acme

import (
	"github.com/rs/zerolog"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// bridge writes the lines of certmagic to the balancer's log: its levels and fields, in our format.
type bridge struct{ log zerolog.Logger }

// newBridge returns a logger for certmagic.
func newBridge(log zerolog.Logger) *zap.Logger { return zap.New(bridge{log}) }

func level(l zapcore.Level) zerolog.Level {
	switch {
	case l <= zapcore.DebugLevel:
		return zerolog.DebugLevel
	case l == zapcore.InfoLevel:
		return zerolog.InfoLevel
	case l == zapcore.WarnLevel:
		return zerolog.WarnLevel
	default: // a line of another's code ends no process of ours
		return zerolog.ErrorLevel
	}
}

// Enabled reports whether lines of the level are written.
func (b bridge) Enabled(l zapcore.Level) bool { return b.log.WithLevel(level(l)).Enabled() }

// With returns a bridge whose lines have more fields.
func (b bridge) With(fields []zapcore.Field) zapcore.Core {
	return bridge{b.log.With().Fields(asMap(fields)).Logger()}
}

// Check adds the bridge to what writes the line.
func (b bridge) Check(line zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if b.Enabled(line.Level) {
		return to.AddCore(line, b)
	}
	return to
}

// Write writes a line.
func (b bridge) Write(line zapcore.Entry, fields []zapcore.Field) error {
	event := b.log.WithLevel(level(line.Level))
	if line.LoggerName != "" {
		event = event.Str("part", line.LoggerName)
	}
	event.Fields(asMap(fields)).Msg(line.Message)
	return nil
}

// Sync does nothing: the log has a queue of its own.
func (b bridge) Sync() error { return nil }

func asMap(fields []zapcore.Field) map[string]any {
	encoder := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(encoder)
	}
	return encoder.Fields
}
