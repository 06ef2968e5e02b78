package management

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"mime"
	"path"
	"strings"

	"github.com/fasthttp/router"
	"github.com/valyala/fasthttp"
)

// pagePath is where the files of the page stand, and what it calls beside the API.
const pagePath = "/page/"

// pagePolicy lets the page use its own files and this listener, and nothing else: no inline script or
// style, and no frame around it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

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
	contentType := mime.TypeByExtension(path.Ext(name))
	if strings.HasSuffix(name, ".js") {
		contentType = "text/javascript; charset=utf-8" // whatever the system's table says
	}
	return func(ctx *fasthttp.RequestCtx) {
		h := &ctx.Response.Header
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
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
