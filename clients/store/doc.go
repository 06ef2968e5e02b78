// Package store keeps the registered clients: in PostgreSQL, in an embedded file, or in memory
// until the process ends.
//
// A write is a transaction: it reads, decides and writes, and no two of them overlap, whichever
// process they are in. Each raises the version of the store and stamps what it changed with it.
// The embedded file and memory are read where they are. PostgreSQL is read by a Copy, in this
// process, to which the changes since its position are applied; the copy outlives the process in a
// file, the snapshot.
//
// The package knows nothing of how limits are enforced, and nothing of the API.
package store
