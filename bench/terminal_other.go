//go:build !unix

package main

import "os"

// terminalSize returns zeros: the size is unknown on this system.
func terminalSize(*os.File) (columns, rows int) { return 0, 0 }
