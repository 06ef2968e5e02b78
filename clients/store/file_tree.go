package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// span is where the keys of a page lie: from first, before end. nil is no bound.
type span struct{ first, end []byte }

// element is called with each element of a leaf.
type element func(page uint64, flags uint32, key, value []byte) error

// walk visits the leaves below a page in order.
func (p *pages) walk(id uint64, depth int, keys span, visit element) error {
	if depth > maxDepth {
		return wrongPage(id, "lies too deep")
	}
	page, err := p.read(id, depth)
	if err != nil {
		return err
	}
	switch flags := binary.NativeEndian.Uint16(page[8:]); flags {
	case leafPage:
		return walkLeaf(id, page, keys, visit)
	case branchPage:
		return p.walkBranch(id, page, depth, keys, visit)
	default:
		return wrongPage(id, "is neither branch nor leaf")
	}
}

func (p *pages) walkBranch(id uint64, page []byte, depth int, keys span, visit element) error {
	order, count := binary.NativeEndian, int(binary.NativeEndian.Uint16(page[10:]))
	if count == 0 {
		return wrongPage(id, "is empty")
	}
	key := func(i int) ([]byte, error) {
		at := pageHeaderSize + i*branchSize
		if at+branchSize > len(page) {
			return nil, wrongPage(id, "is too small for %d elements", count)
		}
		return part(id, page, at, order.Uint32(page[at:]), order.Uint32(page[at+4:]), 0)
	}
	now, err := key(0)
	if err != nil {
		return err
	}
	for i := range count {
		below := span{first: now, end: keys.end}
		if i+1 < count {
			if below.end, err = key(i + 1); err != nil {
				return err
			}
		}
		if err := keys.holds(id, i, now); err != nil {
			return err
		}
		child := order.Uint64(page[pageHeaderSize+i*branchSize+8:])
		if err := p.walk(child, depth+1, below, visit); err != nil {
			return err
		}
		keys.first, now = now, below.end
	}
	return nil
}

func walkLeaf(id uint64, page []byte, keys span, visit element) error {
	order, count := binary.NativeEndian, int(binary.NativeEndian.Uint16(page[10:]))
	if pageHeaderSize+count*leafSize > len(page) {
		return wrongPage(id, "is too small for %d elements", count)
	}
	for i := range count {
		at := pageHeaderSize + i*leafSize
		head := page[at : at+leafSize]
		size := order.Uint32(head[8:])
		both, err := part(id, page, at, order.Uint32(head[4:]), size, order.Uint32(head[12:]))
		if err != nil {
			return err
		}
		key, value := both[:size], both[size:]
		if err := keys.holds(id, i, key); err != nil {
			return err
		}
		if err := visit(id, order.Uint32(head), key, value); err != nil {
			return err
		}
		keys.first = key
	}
	return nil
}

// part returns the key and the value of the element at a place in its page.
func part(id uint64, page []byte, at int, pos, ksize, vsize uint32) ([]byte, error) {
	first := uint64(at) + uint64(pos)
	end := first + uint64(ksize) + uint64(vsize)
	if end > uint64(len(page)) {
		return nil, wrongPage(id, "has an element that ends behind it")
	}
	return page[first:end], nil
}

// holds returns an error if the i-th key of a page is outside, or not behind the one before.
func (s span) holds(page uint64, i int, key []byte) error {
	behind := bytes.Compare(key, s.first)
	if behind < 0 || behind == 0 && i > 0 || s.end != nil && bytes.Compare(key, s.end) >= 0 {
		return wrongPage(page, "has its keys in another order")
	}
	return nil
}

// free reads the list of free pages, once all others are claimed.
func (p *pages) free() error {
	page, err := p.read(p.freelist, 0)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	if order.Uint16(page[8:]) != freelistPage {
		return wrongPage(p.freelist, "is no list of free pages")
	}
	count, list := uint64(order.Uint16(page[10:])), page[pageHeaderSize:]
	if count == manyFree {
		count, list = order.Uint64(list), list[8:]
	}
	if count > uint64(len(list)/8) {
		return wrongPage(p.freelist, "is too small for %d elements", count)
	}
	for i := range count {
		if err := p.claim(order.Uint64(list[i*8:]), 0); err != nil {
			return fmt.Errorf("the list of free pages: %w", err)
		}
	}
	for id := range p.high {
		if p.claimed[id/64]&(1<<(id%64)) == 0 {
			p.leaked++
		}
	}
	return nil
}
