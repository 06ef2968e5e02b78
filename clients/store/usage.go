package store

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"time"

	"loadbalancer/limiter"
)

// A usage file has a first line, a record for each client and, after an empty one, a checksum of all
// that. A record is its length in one byte and, in varints but for the key, the orderKey's length,
// the orderKey and the counts.
const usageMagic = "lb usage 1\n"

// SaveUsage writes the counts of clients to a file, in place of what it had. Tokens and requests in
// flight are not among them. The file is there as a whole or not at all.
func SaveUsage(path string, all iter.Seq2[limiter.ID, limiter.Usage]) (err error) {
	file, err := os.OpenFile(path+newSuffix, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("save the usage of the clients: %w", err)
	}
	err = errors.Join(file.Chmod(0o600), writeUsage(file, all), file.Sync(), file.Close()) // the mode of one that was left, too
	if err == nil {
		err = os.Rename(path+newSuffix, path)
	}
	if err != nil {
		_ = os.Remove(path + newSuffix) // the first error is the one to return
		return fmt.Errorf("save the usage of the clients in %s: %w", path, err)
	}
	return syncDir(filepath.Dir(path))
}

func writeUsage(file io.Writer, all iter.Seq2[limiter.ID, limiter.Usage]) error {
	sum := crc32.New(castagnoli)
	w := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<16)
	_, _ = w.WriteString(usageMagic) // the last error of w is kept
	record := make([]byte, 0, 256)
	for id, u := range all {
		key := orderKey(id)
		record = append(record[:0], 0, byte(len(key)))
		record = append(record, key...)
		for _, count := range countsOf(&u) {
			record = binary.AppendVarint(record, *count)
		}
		seen := int64(0)
		if !u.LastSeen.IsZero() {
			seen = u.LastSeen.Unix()
		}
		record = binary.AppendVarint(record, seen)
		record[0] = byte(len(record) - 1)
		_, _ = w.Write(record)
	}
	_ = w.WriteByte(0)
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := file.Write(sum.Sum(nil))
	return err
}

// countsOf are the counts that are kept, in the order of a record.
func countsOf(u *limiter.Usage) [5]*int64 {
	return [...]*int64{&u.Allowed, &u.Limited, &u.ShadowLimited, &u.Blocked, &u.TrialLimited}
}

// TakeUsage returns what SaveUsage has written, and removes the file. Without one there is nothing.
func TakeUsage(path string) (iter.Seq2[limiter.ID, limiter.Usage], error) {
	none := func(func(limiter.ID, limiter.Usage) bool) {}
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return none, nil
	}
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return none, fmt.Errorf("read the usage of the clients: %w", err)
	}
	if !isUsage(content, crc32.New(castagnoli)) {
		return none, fmt.Errorf("read the usage of the clients in %s: %w: all counts begin anew", path, ErrDamaged)
	}
	return func(yield func(limiter.ID, limiter.Usage) bool) {
		for rest := content[len(usageMagic):]; rest[0] > 0; rest = rest[1+rest[0]:] {
			id, u := readUsage(rest[1 : 1+rest[0]])
			if !yield(id, u) {
				return
			}
		}
	}, nil
}

// isUsage reports whether a file is as it was written.
func isUsage(content []byte, sum hash.Hash) bool {
	end := len(content) - crc32.Size
	if end < len(usageMagic)+1 || string(content[:len(usageMagic)]) != usageMagic {
		return false
	}
	_, _ = sum.Write(content[:end]) // never fails
	return string(sum.Sum(nil)) == string(content[end:])
}

// readUsage reads a record, whose checksum was right.
func readUsage(record []byte) (id limiter.ID, u limiter.Usage) {
	size := 1 + int(record[0])
	id, _ = keyID(record[1:size])
	record = record[size:]
	next := func() int64 {
		n, size := binary.Varint(record)
		record = record[size:]
		return n
	}
	for _, count := range countsOf(&u) {
		*count = next()
	}
	if seen := next(); seen != 0 {
		u.LastSeen = time.Unix(seen, 0)
	}
	return id, u
}
