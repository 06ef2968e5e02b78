//go:build !linux

package management

// openDescriptors returns nil: the system does not tell.
func openDescriptors() *Descriptors { return nil }

// residentMemory returns nil: the system does not tell.
func residentMemory() *uint64 { return nil }
