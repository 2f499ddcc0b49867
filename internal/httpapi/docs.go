package httpapi

import (
	"crypto/sha256"
	"embed"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"
)

// pageFiles are the reference page: our few lines around Swagger UI, which comes with swgui.
//
//go:embed docs
var pageFiles embed.FS

// pagePolicy lets the page load what this server serves and nothing else. Swagger UI styles its elements one by one, and
// shows its icons as data.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// docs serves the reference page at /docs and its scripts and styles below; what it does not have is a problem as
// everywhere.
func docs() echo.HandlerFunc {
	ours, err := fs.Sub(pageFiles, "docs")
	if err != nil {
		panic(err) // the directory is embedded
	}
	theirs := http.StripPrefix("/docs", statigz.FileServer(static.FS))
	return func(ec echo.Context) error {
		w := &found{ResponseWriter: ec.Response()}
		name := strings.Trim(strings.TrimPrefix(ec.Request().URL.Path, "/docs"), "/")
		if name == "" {
			name = "index.html"
		}
		if name == "index.html" {
			w.Header().Set("Content-Security-Policy", pagePolicy)
		}
		if content, err := fs.ReadFile(ours, name); err == nil {
			kind := map[string]string{"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
			_, ending, _ := strings.Cut(name, ".")
			return newDocument(kind[ending], content).answer(ec)
		}
		theirs.ServeHTTP(w, ec.Request())
		if w.isMissing {
			return echo.ErrNotFound
		}
		return nil
	}
}

// document is what is served as it is. Whoever has it asks whether it has changed; the server says so by its tag.
type document struct {
	kind    string
	content []byte
	tag     string
}

func newDocument(kind string, content []byte) document {
	hash := sha256.Sum256(content)
	return document{kind: kind, content: content, tag: fmt.Sprintf(`"%x"`, hash[:8])}
}

// answer is the document, or 304 when the caller has it.
func (d document) answer(ec echo.Context) error {
	header := ec.Response().Header()
	header.Set("ETag", d.tag)
	header.Set("Cache-Control", "no-cache") // to be kept, and asked for each time
	if d.isKnown(ec.Request().Header.Get("If-None-Match")) {
		return ec.NoContent(http.StatusNotModified)
	}
	return ec.Blob(http.StatusOK, d.kind, d.content)
}

// isKnown compares as RFC 9110 has it for If-None-Match: one of a list, any for an asterisk, a weak tag like a strong one,
// which is what a proxy makes of it that compresses.
func (d document) isKnown(ifNoneMatch string) bool {
	for tag := range strings.SplitSeq(ifNoneMatch, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == d.tag {
			return true
		}
	}
	return false
}

// found passes on what a file server finds, and nothing of its own 404.
type found struct {
	http.ResponseWriter
	isMissing bool
}

// WriteHeader notes that there is no such file.
func (f *found) WriteHeader(status int) {
	if f.isMissing = status == http.StatusNotFound; !f.isMissing {
		f.ResponseWriter.WriteHeader(status)
	}
}

// Write drops what is said of a file that is missing.
func (f *found) Write(data []byte) (int, error) {
	if f.isMissing {
		return len(data), nil
	}
	return f.ResponseWriter.Write(data)
}
