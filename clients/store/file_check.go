package store

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"loadbalancer/limiter"
)

// contents are what a look at a file found.
type contents struct {
	old   bool // of a version before there was a state
	state fileState
	keys  *keyIndex
}

// fileCheck looks at the records of a file, in any order.
type fileCheck struct {
	pages *pages
	roots []bucketRoot
	found contents

	records tally
}

// checkFile looks at all of a file of the kind: at every page in use, every record's checksum, the
// sum of all records, which tells that one is lost, and that no two clients have a key. It reads
// each page once.
func checkFile(file *os.File, kind byte) (contents, error) {
	info, err := file.Stat()
	if err != nil {
		return contents{}, err
	}
	if info.Size() == 0 {
		return contents{}, structureError{0, "is not there: the file is empty"}
	}
	c := &fileCheck{found: contents{keys: newKeyIndex()}}
	if c.pages, err = openPages(file, info.Size()); err != nil {
		return contents{}, err
	}
	if c.roots, err = c.pages.buckets(); err != nil {
		return contents{}, err
	}
	if err := c.readState(kind); err != nil {
		return contents{}, err
	}
	for _, root := range c.roots {
		if err := c.pages.records(root, c.visitor(root.name)); err != nil {
			return contents{}, fmt.Errorf("%s: %w", root.name, err)
		}
	}
	if err := c.pages.free(); err != nil {
		return contents{}, err
	}
	return c.found, c.sums()
}

// readState reads the state, and compares the buckets with those that there have to be.
func (c *fileCheck) readState(kind byte) error {
	var names []string
	for _, root := range c.roots {
		names = append(names, root.name)
		if root.name != metaBucket {
			continue
		}
		err := c.pages.records(root, func(key, value []byte) (err error) {
			c.found.state, err = readState(key, value)
			return err
		})
		if err != nil {
			return err
		}
	}
	c.roots = slices.DeleteFunc(c.roots, func(root bucketRoot) bool { return root.name == metaBucket })
	if kind == storeKind && c.isOld(names) {
		c.found.old = true
		return nil
	}
	if c.found.state.kind != kind && c.found.state.kind != 0 {
		return errors.New("it is another kind of file: clients.store and clients.snapshot are two files")
	}
	want := slices.Sorted(slices.Values(bucketsOf[kind]))
	if c.found.state.kind != kind || !slices.Equal(names, want) {
		return wrongPage(c.pages.root, "has the buckets %q and not %q", names, want)
	}
	return nil
}

// isOld reports whether the buckets are of an older version. One that ended before its first commit
// has left none.
func (c *fileCheck) isOld(names []string) bool {
	switch len(names) {
	case 0:
		return c.pages.commits <= 1
	case 1:
		return names[0] == clientsBucket
	}
	return slices.Equal(names, []string{clientsBucket, oldKeysBucket})
}

func (c *fileCheck) visitor(bucket string) visitor {
	if c.found.old {
		return func([]byte, []byte) error { return nil } // they are read when they are converted
	}
	return func(key, value []byte) error {
		payload, err := unseal(bucket, key, value)
		if err != nil {
			return err
		}
		c.records.add(sealOf(value))
		if bucket == clientsBucket {
			return c.client(key, payload)
		}
		return nil
	}
}

func (c *fileCheck) client(key, payload []byte) error {
	if _, err := keyID(key); err != nil {
		return errRecord
	}
	if c.found.state.kind != storeKind {
		return nil
	}
	taken := false
	err := eachKey(payload, func(digest *limiter.KeyDigest) {
		prefix := prefixOf(digest)
		taken = taken || c.found.keys.holder(prefix) != nil
		c.found.keys.set(prefix, string(key))
	})
	if err == nil && taken {
		err = fmt.Errorf("two clients have the same API key: %w", errRecord)
	}
	return err
}

func (c *fileCheck) sums() error {
	switch {
	case c.found.old && c.pages.leaked > 0:
		return fmt.Errorf("%d pages are neither in use nor free: %w", c.pages.leaked, errRecord)
	case c.found.old:
		return nil
	case c.records != c.found.state.tally:
		return fmt.Errorf("it has %d records and not the %d that were written: %w", c.records.count, c.found.state.count, errRecord)
	}
	return nil
}

// eachKey visits the digests in the payload of a client's record.
func eachKey(payload []byte, visit func(*limiter.KeyDigest)) error {
	r := reader{rest: payload}
	r.byte()
	r.bytes()
	_, _, _, _ = r.varint(), r.uvarint(), r.uvarint(), r.uvarint() // version and times
	r.terms()
	for range r.length() {
		r.bytes()
		digest := r.take(len(limiter.KeyDigest{}))
		_, _ = r.uvarint(), r.uvarint()
		if r.err != nil {
			return r.err
		}
		visit((*limiter.KeyDigest)(digest))
	}
	return r.err
}
