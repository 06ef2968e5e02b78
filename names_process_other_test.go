//go:build !linux

package main

import "testing"

func testNameMovesUnderLoad(t *testing.T, _ programs) { t.Skip("needs a mount namespace") }

func testAddressDies(t *testing.T, _ programs) { t.Skip("needs a mount namespace") }

func testDrainOfAddress(t *testing.T, _ programs) { t.Skip("needs a mount namespace") }
