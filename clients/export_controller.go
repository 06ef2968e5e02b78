package clients

import (
	"context"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"loadbalancer/clients/rest"
)

const (
	exportPath = root + "/export/clients"

	ndjsonType = "application/x-ndjson"
	csvType    = "text/csv"
)

func registerExport(r *routes) {
	r.add(http.MethodGet, exportPath, r.export)
}

// export streams all clients: as CSV where Accept asks for that, else as NDJSON.
func (c *controller) export(_ context.Context, r *fasthttp.RequestCtx) error {
	r.Response.Header.Add("Vary", "Accept")
	contentType, write := ndjsonType, writeNDJSON
	if prefersCSV(string(r.Request.Header.Peek("Accept"))) {
		contentType, write = csvType+"; charset=utf-8", writeCSV
	}
	produce, err := c.usecase.export(write)
	if err != nil {
		return err
	}
	return rest.Stream(r, contentType, produce)
}

// prefersCSV reports whether an Accept (RFC 9110, section 12.5.1) names CSV, and NDJSON not with at
// least the same weight.
func prefersCSV(accept string) bool {
	weights := map[string]float64{}
	for element := range strings.SplitSeq(accept, ",") {
		media, parameters, err := mime.ParseMediaType(element)
		if err != nil {
			continue
		}
		weight := 1.0
		if q, found := parameters["q"]; found {
			weight, _ = strconv.ParseFloat(q, 64)
		}
		weights[media] = max(weights[media], weight)
	}
	return weights[csvType] > weights[ndjsonType]
}
