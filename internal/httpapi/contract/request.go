package contract

import (
	"context"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"
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
