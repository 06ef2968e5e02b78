package main

import "testing"

func TestClientsPage(t *testing.T) {
	requirePage(t, "docs/clients.md", 32, 8)
}
