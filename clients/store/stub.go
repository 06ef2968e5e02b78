package store

import (
	"context"
	"time"
	"strings"
	"errors"

	"github.com/rs/zerolog"
)

var ErrTooOld = errors.New("too old")

type PostgresConfig struct{ URL string; Bounds Bounds }
type Postgres struct{ *Memory }
func IsPostgres(s string) bool { return strings.HasPrefix(s, "postgres") }
func OpenPostgres(c PostgresConfig, log zerolog.Logger) (*Postgres, error) { return nil, nil }
func (p *Postgres) Place() string { return "" }
func (p *Postgres) Prepare(ctx context.Context) error { return nil }
func (p *Postgres) Load(ctx context.Context, s Sink) error { return nil }
func (p *Postgres) Changes(ctx context.Context, since Position) (Changes, error) { return Changes{}, nil }
type Sum struct{ a int }
func (s *Sum) Add(c *Client) {}
func (p *Postgres) Checksum(ctx context.Context) (Position, Sum, error) { return Position{}, Sum{}, nil }
func (p *Postgres) Prune(ctx context.Context) error { return nil }
func (p *Postgres) Listen(ctx context.Context) (*Listener, error) { return nil, nil }
type Listener struct{}
func (l *Listener) Hears() bool { return true }
func (l *Listener) Wait(ctx context.Context, d time.Duration) (bool, error) { return false, nil }
func (l *Listener) Ping(ctx context.Context, d time.Duration) error { return nil }
func (l *Listener) Close() {}
func Permanent(err error) bool { return false }
type Copy struct{ *Memory }
func OpenCopy(path string) (*Copy, error) { return nil, nil }
func (c *Copy) Loaded() bool { return true }
func (c *Copy) Run(ctx context.Context) {}
func (c *Copy) Build(at Position, plans []Plan) (*Builder, error) { return nil, nil }
type Builder struct{}
func (b *Builder) Add(c Client) error { return nil }
func (b *Builder) Commit() error { return nil }
func (b *Builder) Abort() {}
func ParsePostgresURL(s string) (any, error) { return nil, nil }
