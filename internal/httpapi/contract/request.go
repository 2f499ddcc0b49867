package contract

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"parley/internal/apperr"
	"parley/internal/jsontext"
)

// Request is what handlers need to know about a request beyond its typed form.
type Request struct {
	ID     string      // the request ID, as in the response
	URL    *url.URL    // absolute, with the host that the caller used
	Header http.Header // of the response

	scope    string // method and path; part of the scope of an Idempotency-Key
	bodyHash []byte // SHA-256 of the JSON body; of no bytes for other bodies
}

type requestKey struct{}

// RequestOf returns the Request that enforce added to the context.
func RequestOf(ctx context.Context) Request {
	request, _ := ctx.Value(requestKey{}).(Request)
	return request
}

func newRequest(ec echo.Context, bodyHash []byte) Request {
	r := ec.Request()
	address := *r.URL
	address.Scheme, address.Host = ec.Scheme(), r.Host
	return Request{
		ID:       requestID(ec),
		URL:      &address,
		Header:   ec.Response().Header(),
		scope:    r.Method + " " + r.URL.Path,
		bodyHash: bodyHash,
	}
}

// checkQuery refuses text that PostgreSQL cannot store, and known parameters that are repeated or
// empty, which the validator would ignore. An operation without query parameters ignores its query.
func (op *operation) checkQuery(address *url.URL) error {
	if !op.hasQuery {
		return nil
	}
	query, err := url.ParseQuery(address.RawQuery)
	if err != nil {
		return apperr.Wrap(apperr.InvalidRequest, "The query string is not encoded correctly.", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) { // sorted: the same request gets the same error
		values := query[name]
		isKnown := op.route.Operation.Parameters.GetByInAndName("query", name) != nil
		if len(values) > 1 && isKnown {
			return apperr.Parameter(name, "must be given once")
		}
		for _, value := range values {
			if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				return apperr.Parameter(strings.ToValidUTF8(name, "\uFFFD"), "must be UTF-8 without NUL")
			}
			if value == "" && isKnown {
				return apperr.Parameter(name, "must not be empty")
			}
		}
	}
	return nil
}

const (
	maxJSON   = 1 << 20
	maxUpload = 32 << 20

	jsonTooLarge   = "The body can be at most 1 MiB."
	uploadTooLarge = "The upload can be at most 32 MiB."
)

// body is what readBody has read.
type body struct {
	json []byte // with current field names; nil for other bodies
	hash []byte // SHA-256 of the JSON body as it was sent, of no bytes for other bodies
}

var emptyHash = sha256.Sum256(nil)

// readBody reads a JSON body and makes it the body of the request again, in the form that
// PostgreSQL can store and with current field names. Of an upload it checks the headers and bounds
// the length; the handler reads it as it arrives.
func (op *operation) readBody(ec echo.Context) (body, error) {
	r := ec.Request()
	switch {
	case op.hasJSONBody:
		sent, err := readJSON(r)
		if err != nil {
			return body{}, err
		}
		hash := sha256.Sum256(sent)
		cleaned, err := jsontext.Clean(sent)
		if err != nil {
			return body{}, op.asMessageError(err)
		}
		cleaned = op.renameDeprecated(cleaned)
		r.Body = io.NopCloser(bytes.NewReader(cleaned))
		r.ContentLength = int64(len(cleaned))
		return body{json: cleaned, hash: hash[:]}, nil
	case op.hasUpload:
		if err := checkMediaType(r, "multipart/form-data"); err != nil {
			return body{}, err
		}
		if r.ContentLength > maxUpload {
			return body{}, apperr.New(apperr.TooLarge, uploadTooLarge)
		}
		r.Body = http.MaxBytesReader(ec.Response(), r.Body, maxUpload)
	}
	return body{hash: emptyHash[:]}, nil
}

func readJSON(r *http.Request) ([]byte, error) {
	if err := checkMediaType(r, "application/json"); err != nil {
		return nil, err
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, apperr.New(apperr.UnsupportedMediaType, "The body must not be compressed.")
	}
	if r.ContentLength > maxJSON {
		return nil, apperr.New(apperr.TooLarge, jsonTooLarge)
	}
	sent, err := io.ReadAll(io.LimitReader(r.Body, maxJSON+1))
	if err != nil {
		return nil, apperr.Wrap(apperr.InvalidRequest, "The body could not be read.", err)
	}
	if len(sent) > maxJSON {
		return nil, apperr.New(apperr.TooLarge, jsonTooLarge)
	}
	return sent, nil
}

func checkMediaType(r *http.Request, want string) error {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != want {
		return apperr.New(apperr.UnsupportedMediaType, "The Content-Type must be "+want+".")
	}
	if strings.HasPrefix(want, "multipart/") && parameters["boundary"] == "" {
		return apperr.New(apperr.InvalidRequest, "The Content-Type must have a boundary.")
	}
	return nil
}
