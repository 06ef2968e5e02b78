package rest

import (
	"fmt"
	"slices"

	"github.com/valyala/fasthttp"
)

// Parameters returns a handler that answers 422 to requests with a query parameter that is not known
// or is there twice, and gives all others to next. A parameter that a call ignored could be a slip:
// a list asked for by ?limt=5 would be another than the one that was meant.
func Parameters(next fasthttp.RequestHandler, known ...string) fasthttp.RequestHandler {
	return func(ctx *fasthttp.RequestCtx) {
		if f := checkParameters(ctx.QueryArgs(), known); f != nil {
			f.write(ctx)
			return
		}
		next(ctx)
	}
}

func checkParameters(query *fasthttp.Args, known []string) *Fault {
	var seen []string
	for key := range query.All() {
		name := string(key)
		switch {
		case slices.Contains(seen, name):
			return &Fault{Code: Invalid, Field: name, Message: fmt.Sprintf("the parameter %q is there twice", name)}
		case slices.Contains(known, name):
			seen = append(seen, name)
		default:
			return unknownParameter(name, known)
		}
	}
	return nil
}

func unknownParameter(name string, known []string) *Fault {
	allowed := "this call has none"
	if len(known) > 0 {
		allowed = fmt.Sprintf("allowed are %q", known)
	}
	return &Fault{Code: Invalid, Field: Shorten(name), Message: fmt.Sprintf("the parameter %s is unknown; %s", Quote(name), allowed)}
}
