//go:build !linux

package clients

func fileHolder(string) string { return "another process" }
