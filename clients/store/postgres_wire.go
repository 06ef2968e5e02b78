package store

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// allBinary asks for all columns of a result in the binary format.
var allBinary = []int16{pgx.BinaryFormatCode}

// query runs a statement, without preparing it by name, and visits the rows of its result. The
// arguments are in the text format, nil for NULL, and the statement casts them. The columns are in
// the binary format; they are valid until row returns.
func query(ctx context.Context, conn *pgx.Conn, row func(columns [][]byte) error, sql string, args ...[]byte) error {
	result := conn.PgConn().ExecParams(ctx, sql, args, nil, nil, allBinary)
	for result.NextRow() {
		if err := row(result.Values()); err != nil {
			_, _ = result.Close() // the first error is the one to return
			return err
		}
	}
	_, err := result.Close()
	return err
}

// execute is query for a statement without a result.
func execute(ctx context.Context, conn *pgx.Conn, sql string, args ...[]byte) error {
	return query(ctx, conn, func([][]byte) error { return nil }, sql, args...)
}

// simple sends statements without arguments, in one message, and returns their results in the text
// format.
func simple(ctx context.Context, conn *pgx.Conn, statements string) ([]*pgconn.Result, error) {
	results, err := conn.PgConn().Exec(ctx, statements).ReadAll()
	if err != nil && !isAnswer(err) && ctx.Err() != nil { // else it says that the connection is closed
		err = fmt.Errorf("PostgreSQL does not answer: %w", context.Cause(ctx))
	}
	return results, err
}

// send is simple without the results.
func send(ctx context.Context, conn *pgx.Conn, statements string) error {
	_, err := simple(ctx, conn, statements)
	return err
}

// Arguments of query.

func number(n int64) []byte { return strconv.AppendInt(nil, n, 10) }

func float(f float64) []byte { return strconv.AppendFloat(nil, f, 'g', -1, 64) }

// orNull returns NULL for what is empty.
func orNull(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}

func bytea(b []byte) []byte { return hex.AppendEncode([]byte(`\x`), b) }

func timestamp(t time.Time) []byte { return t.UTC().AppendFormat(nil, "2006-01-02T15:04:05.999999Z") }

// array is an argument that is an array, in the making.
type array struct{ text []byte }

func (a *array) next() {
	if len(a.text) == 0 {
		a.text = append(a.text, '{')
		return
	}
	a.text = append(a.text, ',')
}

// add appends an element, NULL for nil.
func (a *array) add(element []byte) {
	a.next()
	if element == nil {
		a.text = append(a.text, "NULL"...)
		return
	}
	a.text = append(a.text, '"')
	if bytes.IndexByte(element, '"') < 0 && bytes.IndexByte(element, '\\') < 0 {
		a.text = append(a.text, element...)
	} else {
		for _, b := range element {
			if b == '"' || b == '\\' {
				a.text = append(a.text, '\\')
			}
			a.text = append(a.text, b)
		}
	}
	a.text = append(a.text, '"')
}

// string appends an element, NULL for "".
func (a *array) string(element string) {
	if element == "" {
		a.add(nil)
		return
	}
	a.add([]byte(element))
}

// number appends an element, NULL for 0.
func (a *array) number(n int64) {
	a.next()
	if n == 0 {
		a.text = append(a.text, "NULL"...)
		return
	}
	a.text = strconv.AppendInt(a.text, n, 10)
}

// float appends an element, NULL for 0.
func (a *array) float(f float64) {
	a.next()
	if f == 0 {
		a.text = append(a.text, "NULL"...)
		return
	}
	a.text = strconv.AppendFloat(a.text, f, 'g', -1, 64)
}

func (a *array) bool(b bool) {
	a.next()
	a.text = strconv.AppendBool(a.text, b)
}

// time appends an element, NULL for the zero time.
func (a *array) time(t time.Time) {
	if t.IsZero() {
		a.add(nil)
		return
	}
	a.add(timestamp(t))
}

// done returns the argument.
func (a *array) done() []byte {
	if len(a.text) == 0 {
		return []byte("{}")
	}
	return append(a.text, '}')
}
