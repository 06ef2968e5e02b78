// Package routes decides which route, and so which pool, a request takes, and what the route
// changes in it.
//
// A Table is compiled from the config once and never changes. Table.Find takes no lock, allocates
// nothing once its buffer has grown, and sees the request's method, host, path and fields alone.
// The path is compared in one form, whatever way the request spells it; see appendForm.
package routes
