package wire

import (
	"sync"
	"testing"
	"time"
)

// TestRecall interrupts a wait that allows it, and no other.
func TestRecall(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(c *Conn)
		want bool
	}{
		{"none", func(*Conn) {}, false},
		{"held", func(c *Conn) { c.HoldRecall() }, false},
		{"allowed", func(c *Conn) { c.HoldRecall(); c.AllowRecall() }, true},
		{"called before it was allowed", func(c *Conn) { c.HoldRecall(); c.Recall(); c.AllowRecall() }, true},
		{"called and settled", func(c *Conn) { c.HoldRecall(); c.Recall(); c.Settle(); c.AllowRecall() }, false},
		{"settled", func(c *Conn) { c.HoldRecall(); c.AllowRecall(); c.Settle() }, false},
		{"settled before it was allowed", func(c *Conn) { c.HoldRecall(); c.Settle(); c.AllowRecall() }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, c := pair(t)
			test.do(c)
			_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			go c.Recall()
			began := time.Now()
			_, err := c.Read(make([]byte, 1))
			if !TimedOut(err) {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(time.Second); test.want && !c.Recalled() && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			if c.Recalled() != test.want || !test.want && time.Since(began) < 50*time.Millisecond {
				t.Errorf("recalled is %v after %s, want %v", c.Recalled(), time.Since(began), test.want)
			}
		})
	}
}

// TestSettleUndoesRecall: whichever comes first, after Settle the connection can be read.
func TestSettleUndoesRecall(t *testing.T) {
	far, c := pair(t)
	undone := 0
	for range 2000 {
		c.HoldRecall()
		c.AllowRecall()
		var recall sync.WaitGroup
		recall.Go(c.Recall)
		if c.Settle() {
			undone++
		}
		if _, err := far.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		c.ExpectRead(time.Now(), 5*time.Second)
		if _, err := c.Read(make([]byte, 1)); err != nil {
			t.Fatalf("after %d that were undone: %v", undone, err)
		}
		recall.Wait()
		if c.IsStopped() || c.Recalled() {
			t.Fatal("the connection is still stopped")
		}
	}
	t.Logf("%d of 2000 recalls were undone", undone)
}
