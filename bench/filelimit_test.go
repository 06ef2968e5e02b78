//go:build unix

package main

import (
	"strings"
	"testing"
)

func TestCompareFileLimit(t *testing.T) {
	if err := compareFileLimit(1000, 1032); err != nil {
		t.Errorf("1000 connections within a limit of 1032: %v", err)
	}
	err := compareFileLimit(1000, 1024)
	if err == nil || !strings.Contains(err.Error(), "ulimit -n 1032") || !strings.Contains(err.Error(), "allows 1024") {
		t.Errorf("1000 connections within a limit of 1024: %v, want the limit and what to raise", err)
	}
}
