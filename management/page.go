package management

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"path"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"
)

// pagePath is where the files of the page stand, and what it calls beside the API.
const pagePath = "/page/"

// pagePolicy lets the page use its own files and this listener, and nothing else: no inline script or
// style, and no frame around it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// answerPolicy is that of answers that are no page.
const answerPolicy = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// pageTypes are the media types of the page's files, whatever the system's table says.
var pageTypes = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// guard has a browser show an answer in no frame, take it for nothing but what it is, keep no copy, and
// hand it to no page of another origin. Handlers of pages set another policy and another Cache-Control.
func guard(h *fasthttp.ResponseHeader) {
	h.Set("Content-Security-Policy", answerPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

//go:embed page/*.html page/*.css page/*.js page/*.svg
var pageFiles embed.FS

// registerPage adds the page and its files. They hold nothing that depends on the config or the
// reader, so they need no token: what the page shows it gets by calls of the API.
func (a *API) registerPage(r *router.Router) {
	files, err := pageFiles.ReadDir("page")
	if err != nil {
		panic("BUG: the page is not embedded: " + err.Error())
	}
	for _, f := range files {
		r.GET(pagePath+f.Name(), a.page(pageFile(f.Name())))
	}
	r.GET("/", a.page(pageFile("index.html")))
}

// pageFile returns a handler that answers with a file of the page. Browsers ask each time whether
// they have the one of this version.
func pageFile(name string) fasthttp.RequestHandler {
	text, err := fs.ReadFile(pageFiles, "page/"+name)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	digest := sha256.Sum256(text)
	tag := `"` + hex.EncodeToString(digest[:16]) + `"`
	contentType, known := pageTypes[path.Ext(name)]
	if !known {
		panic("BUG: the page has a file of another type: " + name)
	}
	return func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Response.Header
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", tag)
		if string(ctx.Request.Header.Peek("If-None-Match")) == tag {
			ctx.SetStatusCode(fasthttp.StatusNotModified)
			return
		}
		ctx.SetContentType(contentType)
		ctx.SetBody(text)
	}
}
