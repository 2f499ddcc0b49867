package contract

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/internal/apperr"
	"parley/internal/clientaddr"
	"parley/internal/jsontext"
)

// Request contains the data about a request that handlers need beyond its typed form.
type Request struct {
	ID     string      // the request ID, as in the response
	URL    *url.URL    // absolute, with the host that the caller used
	Header http.Header // of the response
	Body   []byte      // the JSON body with the fields that its schema does not declare

	// AcceptLanguage is the header of that name.
	AcceptLanguage string

	scope    string // method and path; part of the scope of an Idempotency-Key
	bodyHash []byte // SHA-256 of the JSON body; of no bytes for other bodies
}

type requestKey struct{}

// RequestOf returns the Request that enforce added to the context.
func RequestOf(ctx context.Context) Request {
	request, _ := ctx.Value(requestKey{}).(Request)
	return request
}

// WithBody returns a context whose Request has another JSON body, for handlers that translate one
// operation into another.
func WithBody(ctx context.Context, body []byte) context.Context {
	request := RequestOf(ctx)
	request.Body = body
	return context.WithValue(ctx, requestKey{}, request)
}

func newRequest(ec echo.Context, read body) Request {
	r := ec.Request()
	address := *r.URL
	address.Scheme, address.Host = clientaddr.Scheme(r), r.Host
	if prefix, ok := ec.Get(aliasKey).(string); ok {
		address.Path, address.RawPath = prefix+strings.TrimPrefix(address.Path, "/api"), ""
	}
	return Request{
		ID:       requestID(ec),
		URL:      &address,
		Header:   ec.Response().Header(),
		Body:     read.sent,
		scope:    r.Method + " " + r.URL.Path,
		bodyHash: read.hash,

		AcceptLanguage: r.Header.Get("Accept-Language"),
	}
}

const (
	maxJSON   = 1 << 20
	maxUpload = 32 << 20

	// maxFirstRead bounds the memory that is allocated for a body before it has arrived.
	maxFirstRead = 16 << 10

	uploadTooLarge = "The upload can be at most 32 MiB."
)

// body is the result of readBody.
type body struct {
	sent      []byte // JSON as it was sent, in a form that PostgreSQL can store; nil for other bodies
	json      []byte // as the handler decodes it; nil for other bodies
	validated []byte // the same without free JSON
	hash      []byte // SHA-256 of the JSON body as it was sent, of no bytes for other bodies
}

var emptyHash = sha256.Sum256(nil)

// readBody reads a JSON body, and replaces it by a form that PostgreSQL can store and that has the declared names of
// its fields. Of an upload it checks the headers and bounds the length; the handler reads it as it arrives.
func (op *operation) readBody(ec echo.Context) (body, error) {
	r := ec.Request()
	switch {
	case op.bodySchema != nil:
		sent, err := op.readJSON(r)
		if err != nil {
			return body{}, err
		}
		hash := sha256.Sum256(sent)
		cleaned, err := jsontext.Clean(sent)
		if err != nil {
			return body{}, op.asMessageError(err)
		}
		if err := op.checkUnsupported(cleaned); err != nil {
			return body{}, err
		}
		normalized, validated := op.bodyShape.Normalize(cleaned)
		r.Body = io.NopCloser(bytes.NewReader(normalized))
		r.ContentLength = int64(len(normalized))
		r.Header.Set("Content-Type", "application/json") // the only spelling that Echo knows
		return body{sent: cleaned, json: normalized, validated: validated, hash: hash[:]}, nil
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

func (op *operation) readJSON(r *http.Request) ([]byte, error) {
	if err := checkMediaType(r, "application/json"); err != nil {
		return nil, err
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return nil, apperr.New(apperr.UnsupportedMediaType, "The body must not be compressed.")
	}
	if r.ContentLength > op.bodyLimit {
		return nil, op.bodyTooLarge()
	}
	var sent bytes.Buffer
	sent.Grow(int(min(max(r.ContentLength, 0), maxFirstRead)) + bytes.MinRead) // enough for most bodies
	if _, err := sent.ReadFrom(io.LimitReader(r.Body, op.bodyLimit+1)); err != nil {
		return nil, apperr.Wrap(apperr.InvalidRequest, "The body could not be read.", err)
	}
	if int64(sent.Len()) > op.bodyLimit {
		return nil, op.bodyTooLarge()
	}
	return sent.Bytes(), nil
}

func (op *operation) bodyTooLarge() error {
	size := fmt.Sprintf("%d KiB", op.bodyLimit>>10)
	if op.bodyLimit >= maxJSON {
		size = fmt.Sprintf("%d MiB", op.bodyLimit>>20)
	}
	return apperr.New(apperr.TooLarge, "The body can be at most "+size+".")
}

func checkMediaType(r *http.Request, want string) error {
	mediaType, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || mediaType != want {
		return apperr.New(apperr.UnsupportedMediaType, "The Content-Type must be "+want+".")
	}
	if strings.HasPrefix(want, "multipart/") && parameters["boundary"] == "" {
		return apperr.Header("Content-Type", "must have a boundary")
	}
	return nil
}
