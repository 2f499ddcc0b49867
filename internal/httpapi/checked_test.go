package httpapi_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/google/uuid"
)

func init() {
	openapi3filter.RegisterBodyDecoder("text/event-stream", decodeEvents)
	openapi3filter.RegisterBodyDecoder("application/yaml", decodeText)
	openapi3filter.RegisterBodyDecoder("text/html", decodeText)
	openapi3filter.RegisterBodyDecoder("text/csv", decodeText)
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", decodeLines)
	openapi3filter.RegisterBodyDecoder("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", decodeText)
	// The library leaves it to its users what a uuid is. No request's schema has the format.
	openapi3.DefineStringFormatValidator("uuid", openapi3.NewCallbackValidator(func(text string) error {
		id, err := uuid.Parse(text)
		if err == nil && id.String() != text {
			err = errors.New("not in plain text")
		}
		return err
	}))
}

// checked is the way of every request of this package: it holds each answer against the document, and notes which
// operation has given which status. An answer that breaks the contract fails the test, whatever the test is about.
type checked struct {
	t    testing.TB
	next http.RoundTripper
	// fails tells that failures of the server are expected.
	fails *atomic.Bool
}

// RoundTrip sends the request. Streams are checked when they are read to their end, or closed; sockets are closed as soon
// as they are open: what is said on them is tested with the package wsapi.
func (c checked) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := c.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		response.Body = &heard{ReadCloser: response.Body, done: func(text []byte) { c.check(request, response, wholeEvents(text)) }}
		return response, nil
	}
	if response.StatusCode == http.StatusSwitchingProtocols {
		response.Body.Close()
		response.Body = http.NoBody
	}
	body, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	c.check(request, response, body)
	return response, nil
}

func (c checked) check(request *http.Request, response *http.Response, body []byte) {
	c.t.Helper()
	what := fmt.Sprintf("%s %s → %d", request.Method, request.URL.RequestURI(), response.StatusCode)
	what = what[:min(len(what), 300)]
	if response.Header.Get("X-Request-Id") == "" {
		c.t.Errorf("%s: the answer has no X-Request-Id", what)
	}
	if response.StatusCode >= 500 && response.StatusCode != http.StatusServiceUnavailable && !c.fails.Load() {
		c.t.Errorf("%s: %s", what, body)
	}
	if response.StatusCode >= 400 && request.Method != http.MethodHead {
		check := checkProblem
		if isOpenAI(request.URL.Path) {
			check = checkOpenAIError
		}
		if err := check(response, body); err != nil {
			c.t.Errorf("%s: %v\n%s", what, err, body)
		}
	}
	if isJSON(response.Header) {
		if err := checkTimes(body); err != nil {
			c.t.Errorf("%s: %v\n%s", what, err, body)
		}
	}
	route, params, err := router.FindRoute(request)
	if err != nil {
		return // a path or method that is not declared; a failure has been held against its schema
	}
	seen.add(route.Operation.OperationID, response.StatusCode)
	input := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: &openapi3filter.RequestValidationInput{Request: request, PathParams: params, Route: route},
		Status:                 response.StatusCode,
		Header:                 response.Header,
		Options:                &openapi3filter.Options{IncludeResponseStatus: true, MultiError: true},
	}
	if err := openapi3filter.ValidateResponse(request.Context(), input.SetBodyBytes(body)); err != nil {
		c.t.Errorf("%s: not as the document has it: %v", what, err)
	}
}

func isJSON(header http.Header) bool {
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return kind == "application/json" || kind == "application/problem+json"
}

// checkProblem holds a failure against the schema that all failures have, on declared routes and others.
func checkProblem(response *http.Response, body []byte) error {
	if kind := response.Header.Get("Content-Type"); kind != "application/problem+json" {
		return fmt.Errorf("a failure is of the type %q", kind)
	}
	var problem map[string]any
	if err := json.Unmarshal(body, &problem); err != nil {
		return fmt.Errorf("the problem document: %w", err)
	}
	if err := schemaOf("Problem").VisitJSON(problem, openapi3.VisitAsResponse()); err != nil {
		return fmt.Errorf("the problem document: %w", err)
	}
	switch {
	case problem["status"] != float64(response.StatusCode):
		return fmt.Errorf("status is %v", problem["status"])
	case problem["request_id"] != response.Header.Get("X-Request-Id"):
		return fmt.Errorf("request_id is %v, X-Request-Id %s", problem["request_id"], response.Header.Get("X-Request-Id"))
	case problem["type"] != fmt.Sprintf("/problems/%s", problem["error"]):
		return fmt.Errorf("type is %v, error %v", problem["type"], problem["error"])
	case problem["title"] == "" || problem["detail"] == "":
		return errors.New("title or detail is empty")
	case response.StatusCode == http.StatusUnauthorized && response.Header.Get("WWW-Authenticate") == "":
		return errors.New("a 401 without WWW-Authenticate")
	case (problem["retry_after"] != nil) != (response.Header.Get("Retry-After") != ""):
		return fmt.Errorf("retry_after is %v, Retry-After %q", problem["retry_after"], response.Header.Get("Retry-After"))
	}
	return nil
}

var (
	anyTime = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d`)
	ourTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
)

// checkTimes finds a time in a body that is not written with six fraction digits and Z. Free objects are the caller's,
// and so are all texts that callers write.
func checkTimes(body []byte) error {
	if len(body) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // a free object's may be larger than a float64
	var value any
	if err := decoder.Decode(&value); err != nil {
		return fmt.Errorf("the body is no JSON: %w", err)
	}
	return walkTimes("", value)
}

func walkTimes(pointer string, value any) error {
	switch value := value.(type) {
	case string:
		if anyTime.MatchString(value) && !ourTime.MatchString(value) {
			return fmt.Errorf("the time at %s is %q", pointer, value)
		}
	case []any:
		for i, item := range value {
			if err := walkTimes(fmt.Sprintf("%s/%d", pointer, i), item); err != nil {
				return err
			}
		}
	case map[string]any:
		for key, item := range value {
			switch key {
			case "metadata", "contentPayload", "queryMetadata", "canvas", "example", "examples":
				continue
			}
			if err := walkTimes(pointer+"/"+key, item); err != nil {
				return err
			}
		}
	}
	return nil
}

// heard keeps what is read of a stream, and tells it once it is over.
type heard struct {
	io.ReadCloser
	text bytes.Buffer
	once sync.Once
	done func([]byte)
}

// Read reads on.
func (h *heard) Read(into []byte) (int, error) {
	n, err := h.ReadCloser.Read(into)
	h.text.Write(into[:n])
	if err == io.EOF {
		h.once.Do(func() { h.done(h.text.Bytes()) })
	}
	return n, err
}

// Close ends the stream early.
func (h *heard) Close() error {
	h.once.Do(func() { h.done(h.text.Bytes()) })
	return h.ReadCloser.Close()
}

// wholeEvents leaves out an event that was cut off.
func wholeEvents(text []byte) []byte {
	return text[:bytes.LastIndex(text, []byte("\n\n"))+1]
}

func decodeText(body io.Reader, _ http.Header, _ *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	text, err := io.ReadAll(body)
	return string(text), err
}

// decodeEvents holds each event of a stream against the schema, which speaks of one, and returns the last.
func decodeEvents(body io.Reader, _ http.Header, schema *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	example := schema.Value.Example // stands for a stream that was left before its first event
	last := example
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok || data == "[DONE]" && len(schema.Value.AnyOf) > 0 { // OpenAI's way to end
			continue
		}
		var event any
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return nil, err
		}
		if err := schema.Value.VisitJSON(event, openapi3.VisitAsResponse()); err != nil {
			return nil, fmt.Errorf("event %s: %w", data, err)
		}
		if err := walkTimes("", event); err != nil {
			return nil, err
		}
		last = event
	}
	return last, lines.Err()
}

// decodeLines holds each line against the schema, which speaks of one, and returns the last.
func decodeLines(body io.Reader, _ http.Header, schema *openapi3.SchemaRef, _ openapi3filter.EncodingFn) (any, error) {
	last := schema.Value.Example // stands for a file without lines
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line any
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			return nil, err
		}
		if err := schema.Value.VisitJSON(line, openapi3.VisitAsResponse()); err != nil {
			return nil, fmt.Errorf("line %s: %w", lines.Text(), err)
		}
		if err := walkTimes("", line); err != nil {
			return nil, err
		}
		last = line
	}
	return last, lines.Err()
}
