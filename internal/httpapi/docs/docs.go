// Package docs serves the reference page and the OpenAPI document.
package docs

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui/v5/static"
	"github.com/vearutop/statigz"

	"parley/internal/clientaddr"
)

// files are the project's own files of the reference page, a few lines around the Swagger UI of swgui.
//
//go:embed index.html page.css page.js
var files embed.FS

// policy restricts the reference page to this server. Swagger UI needs inline styles and data:
// icons.
const policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Page serves the reference page at /docs, and its scripts and styles below. Missing files are
// answered with a problem document, like unknown paths everywhere.
func Page() echo.HandlerFunc {
	swaggerUI := statigz.FileServer(static.FS)
	return func(ec echo.Context) error {
		name := strings.Trim(strings.TrimPrefix(ec.Request().URL.Path, "/docs"), "/")
		if name == "" {
			name = "index.html"
		}
		if name == "index.html" {
			ec.Response().Header().Set("Content-Security-Policy", policy)
		}
		if content, err := files.ReadFile(name); err == nil {
			mediaTypes := map[string]string{"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
			_, extension, _ := strings.Cut(name, ".")
			return newDocument(mediaTypes[extension], content).answer(ec)
		}
		var err error = echo.ErrNotFound
		http.StripPrefix("/docs", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if swaggerUI.Found(r) {
				err = nil
				swaggerUI.ServeHTTP(w, r)
			}
		})).ServeHTTP(ec.Response(), ec.Request())
		return err
	}
}

// contractDocument is the OpenAPI document in one of its forms, split at the URL of the server.
type contractDocument struct {
	mediaType     string
	before, after []byte
}

// Contract serves the OpenAPI document in one of its forms. It splits the document after key, which precedes the URL
// of the only server, "/".
func Contract(mediaType string, content []byte, key string) echo.HandlerFunc {
	before, after, found := bytes.Cut(content, []byte(key+"/"))
	if !found {
		panic("the OpenAPI document has no server") // cannot happen: the document is embedded
	}
	return contractDocument{mediaType: mediaType, before: slices.Concat(before, []byte(key)), after: after}.answer
}

// answer sends the document with the URL under which the client reached the server. A client that is generated from
// the document, or a tool that imports it, then sends requests to the right place.
func (d contractDocument) answer(ec echo.Context) error {
	return newDocument(d.mediaType, slices.Concat(d.before, []byte(serverURL(ec.Request())), d.after)).answer(ec)
}

// plainHost matches a valid host of a server: a name or an address, with or without a port.
var plainHost = regexp.MustCompile(`^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?$`)

// serverURL returns the URL under which a request reached the server, or "/" if the host is malformed.
func serverURL(r *http.Request) string {
	if !plainHost.MatchString(r.Host) {
		return "/"
	}
	return clientaddr.Scheme(r) + "://" + r.Host
}

// document is static content with an entity tag.
type document struct {
	mediaType string
	content   []byte
	etag      string
}

func newDocument(mediaType string, content []byte) document {
	hash := sha256.Sum256(content)
	return document{mediaType: mediaType, content: content, etag: fmt.Sprintf(`"%x"`, hash[:8])}
}

// answer sends the document, or 304 if the client has it.
func (d document) answer(ec echo.Context) error {
	header := ec.Response().Header()
	header.Set("ETag", d.etag)
	header.Set("Cache-Control", "no-cache") // cacheable, but revalidated for each use
	if d.matches(ec.Request().Header.Get("If-None-Match")) {
		return ec.NoContent(http.StatusNotModified)
	}
	return ec.Blob(http.StatusOK, d.mediaType, d.content)
}

// matches reports whether If-None-Match lists the entity tag, by the weak comparison of RFC 9110:
// a compressing proxy makes strong tags weak.
func (d document) matches(ifNoneMatch string) bool {
	for tag := range strings.SplitSeq(ifNoneMatch, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == d.etag {
			return true
		}
	}
	return false
}
