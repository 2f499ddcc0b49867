package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object of a response. Accessors return the zero value for a field that is
// missing or has another type.
type object map[string]any

func (o object) str(key string) string { text, _ := o[key].(string); return text }
func (o object) num(key string) int    { number, _ := o[key].(float64); return int(number) }
func (o object) bool(key string) bool  { truth, _ := o[key].(bool); return truth }
func (o object) obj(key string) object { inner, _ := o[key].(map[string]any); return inner }
func (o object) has(key string) bool   { _, ok := o[key]; return ok }
func (o object) list(key string) []object {
	items, _ := o[key].([]any)
	all := make([]object, len(items))
	for i, item := range items {
		all[i], _ = item.(map[string]any)
	}
	return all
}

// containsID reports whether one of the objects has an ID.
func containsID(objects []object, id string) bool {
	return slices.ContainsFunc(objects, func(o object) bool { return o.str("id") == id })
}

// client sends requests within a check, as one caller. A client without a key is anonymous.
type client struct {
	t   *checker
	key string
}

// option changes a request before it is sent.
type option func(*request)

type request struct {
	*http.Request

	expectsLimit bool // return a 429 instead of waiting
}

func header(name, value string) option { return func(r *request) { r.Header.Set(name, value) } }

func without(name string) option { return func(r *request) { r.Header.Del(name) } }

func expectLimit(r *request) { r.expectsLimit = true }

// response is a response whose body was read.
type response struct {
	t       *checker
	request string // method and path
	status  int
	header  http.Header
	body    []byte
}

const (
	// callTimeout bounds calls, except for streams.
	callTimeout = 30 * time.Second
	// maxLimitWaits is how often a call waits for a rate limit.
	maxLimitWaits = 3
	// maxLimitWait bounds each wait. The limits are per minute.
	maxLimitWait = 61 * time.Second
)

// call sends a request and reads the response. A string is sent unchanged, any other body as JSON. After a 429 it
// waits and repeats the request, so that the run works with any rate limit.
func (c client) call(method, path string, body any, options ...option) response {
	for waits := 0; ; waits++ {
		got, expectsLimit := c.callOnce(method, path, body, options)
		if got.status != http.StatusTooManyRequests || expectsLimit || waits == maxLimitWaits {
			return got
		}
		got.waitForLimit()
	}
}

// waitForLimit waits until the rate limit of a 429 allows another request.
func (r response) waitForLimit() {
	seconds, err := strconv.Atoi(r.header.Get("Retry-After"))
	if err != nil {
		seconds = max(1, r.object().num("retry_after"))
	}
	r.t.sleep(min(time.Duration(seconds)*time.Second, maxLimitWait))
}

func (c client) get(path string, options ...option) response {
	return c.call(http.MethodGet, path, nil, options...)
}

func (c client) post(path string, body any, options ...option) response {
	return c.call(http.MethodPost, path, body, options...)
}

func (c client) patch(path string, body any) response { return c.call(http.MethodPatch, path, body) }

// getJSON sends a GET that must succeed.
func (c client) getJSON(path string, options ...option) object {
	return c.get(path, options...).json(http.StatusOK)
}

// create sends a POST that must create a resource.
func (c client) create(path string, body any, options ...option) object {
	return c.post(path, body, options...).json(http.StatusCreated)
}

// remove sends a DELETE that must succeed.
func (c client) remove(path string) {
	c.call(http.MethodDelete, path, nil).expectStatus(http.StatusNoContent)
}

func (c client) callOnce(method, path string, body any, options []option) (got response, expectsLimit bool) {
	ctx, cancel := context.WithTimeout(c.t.ctx, callTimeout)
	defer cancel()
	sent := c.newRequest(ctx, method, path, body, options)
	received, err := c.t.http.Do(sent.Request)
	if err != nil {
		c.t.fatalf("%s %s: no response: %v", method, path, withoutURL(err))
	}
	defer received.Body.Close()
	got = c.newResponse(method, truncate(path, 150), received)
	if got.body, err = io.ReadAll(received.Body); err != nil {
		c.t.fatalf("%s: the response breaks off after %d bytes: %v", got.request, len(got.body), err)
	}
	c.t.validator.check(sent.Request, got)
	return got, sent.expectsLimit
}

func (c client) newResponse(method, path string, received *http.Response) response {
	return response{t: c.t, request: method + " " + path, status: received.StatusCode, header: received.Header}
}

func (c client) newRequest(ctx context.Context, method, path string, body any, options []option) *request {
	var content io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(body)
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			c.t.fatalf("encode a body: %v", err)
		}
		content = bytes.NewReader(encoded)
	}
	address := c.t.config.BaseURL + path
	if strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") {
		address = path // a URL that the deployment returned
	}
	base, err := http.NewRequestWithContext(ctx, method, address, content)
	if err != nil {
		c.t.fatalf("%s %s: %v", method, path, err)
	}
	if body != nil {
		base.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		base.Header.Set("Authorization", c.t.scheme+" "+c.key)
	}
	r := &request{Request: base}
	for _, change := range options {
		change(r)
	}
	return r
}

// json returns the response's JSON object. It fails the check unless the response has the status.
func (r response) json(status int) object {
	r.expectStatus(status)
	var value object
	if err := json.Unmarshal(r.body, &value); err != nil {
		r.t.fatalf("%s: the response is not a JSON object: %s", r.request, r.excerpt())
	}
	return value
}

// expectStatus fails the check unless the response has the status.
func (r response) expectStatus(status int) {
	if r.status == status {
		return
	}
	if location := r.header.Get("Location"); location != "" {
		r.t.fatalf("%s is redirected (%d) to %s, want status %d", r.request, r.status, location, status)
	}
	r.t.fatalf("%s: status %d, want %d: %s", r.request, r.status, status, r.excerpt())
}

// problemStatus is the status of each problem that the checks expect.
var problemStatus = map[string]int{
	"invalid_message": http.StatusBadRequest, "invalid_request": http.StatusBadRequest, "unauthorized": http.StatusUnauthorized, "forbidden": http.StatusForbidden,
	"not_found": http.StatusNotFound, "method_not_allowed": http.StatusMethodNotAllowed, "conflict": http.StatusConflict, "too_large": http.StatusRequestEntityTooLarge,
	"unsupported_media_type": http.StatusUnsupportedMediaType, "unprocessable": http.StatusUnprocessableEntity, "rate_limited": http.StatusTooManyRequests,
	"upstream_failed": http.StatusBadGateway,
}

// expectProblem fails the check unless the response is a problem with the code, and returns the problem document. If
// the response is not a problem document, only the status is checked; the check responses/problem reports other
// violations.
func (r response) expectProblem(code string) object {
	r.expectStatus(problemStatus[code])
	problem := r.object()
	if got := problem.str("error"); got != "" && got != code {
		r.t.fatalf("%s: problem %s, want %s: %s", r.request, got, code, r.excerpt())
	}
	return problem
}

// object returns the response's JSON object, or nil if it is not one.
func (r response) object() object {
	var value object
	_ = json.Unmarshal(r.body, &value)
	return value
}

// excerpt returns the beginning of the body for messages.
func (r response) excerpt() string {
	if len(r.body) == 0 {
		return "(no body)"
	}
	return truncate(fmt.Sprintf("%q", truncate(string(r.body), 200)), 260)
}

// withoutURL removes the URL from an error. The caller names it instead.
func withoutURL(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// newHTTPClient returns a client that does not follow redirects and does not decompress bodies.
func newHTTPClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.DisableCompression = true
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}
