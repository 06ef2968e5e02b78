package rest

import (
	"fmt"
	"slices"

	"github.com/valyala/fasthttp"
)

// Parameters returns a handler that answers 422 to a request with a query parameter that is unknown
// or appears twice, and passes all others to next. An ignored parameter could hide a typing error:
// a list asked for with ?limt=5 would have another length than the caller expects.
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
			return &Fault{Code: Invalid, Field: name,
				Message: fmt.Sprintf("the parameter %q appears twice", name)}
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
	return &Fault{Code: Invalid, Field: Shorten(name),
		Message: fmt.Sprintf("the parameter %s is unknown; %s", Quote(name), allowed)}
}
