package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object as it is answered. What is missing, or of another type, is read as nothing.
type object map[string]any

func (o object) str(key string) string { text, _ := o[key].(string); return text }
func (o object) num(key string) int    { number, _ := o[key].(float64); return int(number) }
func (o object) is(key string) bool    { truth, _ := o[key].(bool); return truth }
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

// caller is who asks, within a check.
type caller struct {
	t   *trial
	key string // empty: nobody
}

// option changes a request before it is sent.
type option func(*asking)

type asking struct {
	*http.Request
	takesLimit bool // 429 is an answer, not a reason to wait
}

func header(name, value string) option { return func(a *asking) { a.Header.Set(name, value) } }

func without(name string) option { return func(a *asking) { a.Header.Del(name) } }

// takingLimit has a 429 be an answer.
func takingLimit(a *asking) { a.takesLimit = true }

// answer is what came back.
type answer struct {
	t      *trial
	asked  string // method and path
	status int
	header http.Header
	body   []byte
}

const (
	// callTime bounds a call whose answer comes as a whole.
	callTime = 30 * time.Second
	// maxWaits is how often a call waits for a rate limit.
	maxWaits = 3
	// maxWait is the longest wait for one: the limits are by the minute.
	maxWait = 61 * time.Second
)

// call sends a request and reads the answer. A body is sent as it is when it is text, and else as JSON. A call that meets
// a rate limit waits, since the suite is to fit into any.
func (c caller) call(method, path string, body any, options ...option) answer {
	for waits := 0; ; waits++ {
		got, takesLimit := c.once(method, path, body, options)
		if got.status != http.StatusTooManyRequests || takesLimit || waits == maxWaits {
			return got
		}
		seconds, err := strconv.Atoi(got.header.Get("Retry-After"))
		if err != nil {
			seconds = max(1, got.json().num("retry_after"))
		}
		c.t.pause(min(time.Duration(seconds)*time.Second, maxWait))
	}
}

func (c caller) get(path string, options ...option) answer {
	return c.call(http.MethodGet, path, nil, options...)
}

func (c caller) post(path string, body any, options ...option) answer {
	return c.call(http.MethodPost, path, body, options...)
}

func (c caller) once(method, path string, body any, options []option) (got answer, takesLimit bool) {
	ctx, cancel := context.WithTimeout(c.t.ctx, callTime)
	defer cancel()
	asked := c.request(ctx, method, path, body, options)
	response, err := c.t.http.Do(asked.Request)
	if err != nil {
		c.t.fail("%s %s is not answered: %v", method, path, unwrapped(err))
	}
	defer response.Body.Close()
	got = answer{t: c.t, asked: method + " " + shortened(path, 150), status: response.StatusCode, header: response.Header}
	if got.body, err = io.ReadAll(response.Body); err != nil {
		c.t.fail("%s: the answer breaks off after %d bytes: %v", got.asked, len(got.body), err)
	}
	c.t.seen.look(asked.Request, got)
	return got, asked.takesLimit
}

// request makes a request.
func (c caller) request(ctx context.Context, method, path string, body any, options []option) *asking {
	var sent io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		sent = strings.NewReader(body)
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			c.t.fail("encode a body: %v", err)
		}
		sent = bytes.NewReader(encoded)
	}
	address := c.t.config.BaseURL + path
	if strings.HasPrefix(path, "http://") || strings.HasPrefix(path, "https://") {
		address = path // as the deployment has told it
	}
	request, err := http.NewRequestWithContext(ctx, method, address, sent)
	if err != nil {
		c.t.fail("%s %s: %v", method, path, err)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	if c.key != "" {
		request.Header.Set("Authorization", c.t.scheme+" "+c.key)
	}
	asked := &asking{Request: request}
	for _, change := range options {
		change(asked)
	}
	return asked
}

// gives fails the check unless the answer has that status, and returns its JSON object.
func (a answer) gives(status int) object {
	a.has(status)
	var value object
	if status == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(a.body, &value); err != nil {
		a.t.fail("%s: the answer is no JSON object: %s", a.asked, a.excerpt())
	}
	return value
}

// has fails the check unless the answer has that status.
func (a answer) has(status int) {
	if a.status == status {
		return
	}
	if location := a.header.Get("Location"); location != "" {
		a.t.fail("%s is redirected (%d) to %s, not answered with %d", a.asked, a.status, location, status)
	}
	a.t.fail("%s: %d, not %d: %s", a.asked, a.status, status, a.excerpt())
}

// refused fails the check unless the answer is that refusal, and returns its problem document. Of one that is none only
// the status is held: that it is none is told by a check of its own.
func (a answer) refused(status int, code string) object {
	a.has(status)
	problem := a.json()
	if told := problem.str("error"); told != "" && told != code {
		a.t.fail("%s: the problem is %s, not %s: %s", a.asked, told, code, a.excerpt())
	}
	return problem
}

// json is the answer's JSON object, nil where it is none.
func (a answer) json() object {
	var value object
	_ = json.Unmarshal(a.body, &value) // what is none is nil
	return value
}

// excerpt is what can be shown of an answer.
func (a answer) excerpt() string {
	if len(a.body) == 0 {
		return "(no body)"
	}
	return shortened(fmt.Sprintf("%q", shortened(string(a.body), 200)), 260)
}

// unwrapped leaves the address out of an error, which the caller names.
func unwrapped(err error) error {
	if inner, ok := err.(interface{ Unwrap() error }); ok && inner.Unwrap() != nil {
		return inner.Unwrap()
	}
	return err
}
