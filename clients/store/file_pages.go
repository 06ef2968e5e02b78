package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
)

// pages reads the structure of a bbolt file page by page, without trusting any of it. bbolt itself
// does: it follows what a damaged page says out of the file, or in a circle.
//
// The file is pages of the same size, the first two of which are metas. Each commit writes the
// older one; the newer tells the root of a tree of pages and the list of those that are free.
type pages struct {
	file     io.ReaderAt
	size     int64 // of a page
	high     uint64
	root     uint64
	freelist uint64
	commits  uint64
	claimed  []uint64 // one bit for each page: it is reached, or free
	leaked   uint64   // pages that are neither, once free has been called
	buffers  [][]byte // by depth
}

// The layout of a page, as in bbolt's internal/common. Numbers have the machine's byte order.
const (
	pageHeaderSize  = 16 // id 8, flags 2, count 2, overflow 4
	branchSize      = 16 // pos 4, ksize 4, pgid 8
	leafSize        = 16 // flags 4, pos 4, ksize 4, vsize 4
	metaSize        = 64
	bucketSize      = 16 // root 8, sequence 8
	branchPage      = 0x01
	leafPage        = 0x02
	metaPage        = 0x04
	freelistPage    = 0x10
	bucketLeaf      = 1
	bboltMagic      = 0xED0CDAED
	bboltVersion    = 2
	manyFree        = 0xFFFF // the count of a freelist stands in its first element
	maxPageSize     = 1 << 24
	maxDepth        = 64
	maxOverflowSize = 1 << 31
)

// structureError says what is wrong with a page.
type structureError struct {
	page uint64
	text string
}

func (e structureError) Error() string { return fmt.Sprintf("page %d %s", e.page, e.text) }

func wrongPage(page uint64, format string, args ...any) error {
	return structureError{page, fmt.Sprintf(format, args...)}
}

// bucketRoot is a bucket: a tree of pages, or one page in the root's.
type bucketRoot struct {
	name   string
	page   uint64 // 0: inline
	inline []byte
}

// visitor is called with each record in order. The slices are valid until it returns.
type visitor func(key, value []byte) error

// openPages reads the metas. Both have to be whole: bbolt makes do with one, which is of the commit
// before if the newer one is damaged.
func openPages(file io.ReaderAt, length int64) (*pages, error) {
	first, err := readMeta(file, 0, 0)
	if err != nil {
		return nil, err
	}
	second, err := readMeta(file, 1, first.size)
	if err != nil {
		return nil, err
	}
	p := first
	if second.commits > first.commits {
		p = second
	}
	if p.size != first.size || p.size != second.size {
		return nil, wrongPage(1, "has another page size than page 0")
	}
	if p.high > uint64(length/p.size) {
		return nil, wrongPage(p.high-1, "lies behind the end of the file, at %d bytes", length)
	}
	p.file, p.claimed = file, make([]uint64, p.high/64+1)
	return p, errorsFirst(p.claim(0, 0), p.claim(1, 0))
}

func errorsFirst(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func readMeta(file io.ReaderAt, page uint64, at int64) (*pages, error) {
	buffer := make([]byte, pageHeaderSize+metaSize)
	if _, err := file.ReadAt(buffer, at); err == io.EOF {
		return nil, wrongPage(page, "lies behind the end of the file")
	} else if err != nil {
		return nil, err
	}
	order, meta := binary.NativeEndian, buffer[pageHeaderSize:]
	sum := fnv.New64a()
	_, _ = sum.Write(meta[:metaSize-8]) // never fails
	switch {
	case order.Uint32(meta) != bboltMagic || order.Uint32(meta[4:]) != bboltVersion:
		return nil, wrongPage(page, "is of no store")
	case order.Uint64(meta[metaSize-8:]) != sum.Sum64():
		return nil, wrongPage(page, "has another checksum than it was written with")
	case order.Uint64(buffer) != page || order.Uint16(buffer[8:]) != metaPage:
		return nil, wrongPage(page, "is no meta page")
	}
	p := &pages{
		size:     int64(order.Uint32(meta[8:])),
		root:     order.Uint64(meta[16:]),
		freelist: order.Uint64(meta[32:]),
		high:     order.Uint64(meta[40:]),
		commits:  order.Uint64(meta[48:]),
	}
	if p.size < 512 || p.size > maxPageSize || p.high < 2 {
		return nil, wrongPage(page, "has a page size of %d", p.size)
	}
	return p, nil
}

// claim marks a page and those that it continues in.
func (p *pages) claim(id, overflow uint64) error {
	for end := id + overflow; id <= end; id++ {
		if id >= p.high {
			return wrongPage(id, "is in use and lies behind the last")
		}
		if p.claimed[id/64]&(1<<(id%64)) != 0 {
			return wrongPage(id, "is in use twice, or in use and free")
		}
		p.claimed[id/64] |= 1 << (id % 64)
	}
	return nil
}

// read returns a page, which lasts until the next one of its depth.
func (p *pages) read(id uint64, depth int) ([]byte, error) {
	for len(p.buffers) <= depth {
		p.buffers = append(p.buffers, make([]byte, p.size))
	}
	if id < 2 || id >= p.high {
		return nil, wrongPage(id, "is in use and lies outside")
	}
	page := p.buffers[depth]
	if _, err := p.file.ReadAt(page[:p.size], int64(id)*p.size); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	if got := binary.NativeEndian.Uint64(page); got != id {
		return nil, wrongPage(id, "has the number %d", got)
	}
	overflow := uint64(binary.NativeEndian.Uint32(page[12:]))
	if err := p.claim(id, overflow); err != nil {
		return nil, err
	}
	need := int64(overflow+1) * p.size
	if need > maxOverflowSize {
		return nil, wrongPage(id, "has %d bytes", need)
	}
	if int64(len(page)) < need {
		page = append(page[:p.size], make([]byte, need-p.size)...)
		p.buffers[depth] = page
	}
	if overflow > 0 {
		if _, err := p.file.ReadAt(page[p.size:need], (int64(id)+1)*p.size); err != nil {
			return nil, fmt.Errorf("page %d: %w", id, err)
		}
	}
	return page[:need], nil
}

// buckets returns the buckets at the root. There are no others.
func (p *pages) buckets() (all []bucketRoot, err error) {
	err = p.walk(p.root, 0, span{}, func(_ uint64, flags uint32, key, value []byte) error {
		if flags != bucketLeaf || len(value) < bucketSize {
			return wrongPage(p.root, "has something other than a bucket")
		}
		b := bucketRoot{name: string(key), page: binary.NativeEndian.Uint64(value)}
		if b.page == 0 {
			b.inline = bytes.Clone(value[bucketSize:])
		}
		all = append(all, b)
		return nil
	})
	return all, err
}

// records visits the records of a bucket.
func (p *pages) records(b bucketRoot, visit visitor) error {
	each := func(page uint64, flags uint32, key, value []byte) error {
		if flags != 0 {
			return wrongPage(page, "has something other than a record")
		}
		return visit(key, value)
	}
	if b.page != 0 {
		return p.walk(b.page, 0, span{}, each)
	}
	if len(b.inline) < pageHeaderSize || binary.NativeEndian.Uint16(b.inline[8:]) != leafPage {
		return wrongPage(p.root, "has a bucket that is none")
	}
	return walkLeaf(p.root, b.inline, span{}, each)
}
