package contracttest

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
)

const (
	eventStream = "text/event-stream"
	jsonLines   = "application/x-ndjson"
	problemJSON = "application/problem+json"
	spreadsheet = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
)

// standardHeaders holds the headers of HTTP, CORS, proxies and browser security that the document need not declare.
// Allow is missing, because only a 405 has it, which belongs to no operation.
var standardHeaders = words(`Accept-Ranges Access-Control-Allow-Headers Access-Control-Allow-Methods Access-Control-Allow-Origin
	Access-Control-Expose-Headers Access-Control-Max-Age Cache-Control Connection Content-Length Content-Type Date Referrer-Policy
	Sec-Websocket-Accept Sec-Websocket-Protocol Sec-Websocket-Version Transfer-Encoding Upgrade Vary X-Accel-Buffering X-Content-Type-Options X-Frame-Options`)

func words(text string) map[string]bool {
	all := map[string]bool{}
	for _, word := range strings.Fields(text) {
		all[word] = true
	}
	return all
}

// checkResponse validates a response and records the coverage in seen, unless seen is nil.
func checkResponse(seen *coverage, request *http.Request, response *http.Response, body []byte) []error {
	var found []error
	add := func(err error) {
		if err != nil {
			found = append(found, err)
		}
	}
	if response.StatusCode >= 400 {
		add(checkFailure(seen, request, response, body))
	}
	method, isHead := request.Method, request.Method == http.MethodHead
	if isHead {
		method, seen = http.MethodGet, nil // answered like GET, but not counted as coverage of GET
		if len(body) > 0 {
			add(errors.New("a response to HEAD has a body"))
		}
	}
	op, isDeclared := findOperation(method, request.URL.EscapedPath())
	if !isDeclared {
		add(checkUndeclared(request, response))
		return found
	}
	declared := op.Responses.Value(statusKey(response))
	if declared == nil {
		return append(found, fmt.Errorf("%s does not declare the status %d", op.OperationID, response.StatusCode))
	}
	kind := mediaType(response.Header)
	seen.addResponse(op.OperationID, response, declared.Value, kind)
	for _, err := range checkHeaders(declared.Value, response.Header) {
		add(err)
	}
	media := declared.Value.Content[kind]
	switch {
	case len(declared.Value.Content) == 0 && len(body) > 0:
		add(fmt.Errorf("%s declares no body for %d", op.OperationID, response.StatusCode))
	case len(declared.Value.Content) > 0 && media == nil:
		add(fmt.Errorf("%s does not declare %q for %d", op.OperationID, kind, response.StatusCode))
	case media != nil && response.StatusCode < 400 && !isHead:
		add(checkBody(seen, kind, media.Schema.Value, body))
	}
	return found
}

// checkUndeclared returns an error for a success on a path without a declared operation.
func checkUndeclared(request *http.Request, response *http.Response) error {
	path := request.URL.Path
	isPreflight := request.Method == http.MethodOptions && response.StatusCode == http.StatusNoContent
	isAsset := (request.Method == http.MethodGet || request.Method == http.MethodHead) && strings.HasPrefix(path, "/docs/")
	if response.StatusCode >= 400 || isPreflight || isAsset {
		return nil
	}
	return errors.New("the document has no such operation")
}

// checkHeaders validates the headers of a response: all sent headers must be declared, and all required ones must be
// sent.
func checkHeaders(response *openapi3.Response, sent http.Header) []error {
	var found []error
	declared := map[string]*openapi3.Header{}
	for name, header := range response.Headers {
		declared[http.CanonicalHeaderKey(name)] = header.Value
		if header.Value.Required && sent.Get(name) == "" {
			found = append(found, fmt.Errorf("header %s is missing", name))
		}
	}
	for name, values := range sent {
		header := declared[name]
		switch {
		case header == nil && !standardHeaders[name]:
			found = append(found, fmt.Errorf("header %s is not declared", name))
		case header != nil && len(values) != 1:
			found = append(found, fmt.Errorf("header %s is sent %d times", name, len(values)))
		case header != nil:
			if err := checkHeaderValue(header.Schema.Value, values[0]); err != nil {
				found = append(found, fmt.Errorf("header %s: %w", name, err))
			}
		}
	}
	return found
}

func checkHeaderValue(schema *openapi3.Schema, text string) error {
	var value any = text
	if schema.Type.Is("integer") {
		number, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		value = float64(number)
	}
	return schema.VisitJSON(value, openapi3.VisitAsResponse())
}

// checkBody validates a body against its schema: each event of a stream, each line of JSON lines.
func checkBody(seen *coverage, kind string, schema *openapi3.Schema, body []byte) error {
	switch {
	case isJSON(kind):
		return checkJSON(seen, schema, body)
	case kind == eventStream:
		return eachLine(body, func(line []byte) error {
			data, ok := bytes.CutPrefix(line, []byte("data: "))
			if !ok || string(data) == "[DONE]" && len(schema.OneOf) > 0 { // the end of an OpenAI stream
				return nil
			}
			return checkJSON(seen, schema, data)
		})
	case kind == jsonLines:
		return eachLine(body, func(line []byte) error { return checkJSON(seen, schema, line) })
	}
	return nil // a schema cannot describe texts and files
}

func eachLine(body []byte, check func([]byte) error) error {
	lines := bufio.NewScanner(bytes.NewReader(body))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		if err := check(lines.Bytes()); err != nil {
			return fmt.Errorf("%.300s: %w", lines.Bytes(), err)
		}
	}
	return lines.Err()
}

// cacheSize is the size in bytes from which valid texts are cached. The cache is meant for the document itself, which
// tests request often.
const cacheSize = 128 << 10

// validated is the cache of large valid texts, by schema and hash.
var validated sync.Map

func checkJSON(seen *coverage, schema *openapi3.Schema, text []byte) error {
	var key any
	if len(text) >= cacheSize {
		key = [2]any{schema, sha256.Sum256(text)}
		if _, ok := validated.Load(key); ok {
			return nil
		}
	}
	value, err := decode(text)
	if err == nil {
		err = checkValue(seen, schema, value)
	}
	if err == nil && key != nil {
		validated.Store(key, true)
	}
	return err
}

// decode parses a JSON text. It keeps numbers as text, because those of free-form objects may exceed a float64.
func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("invalid JSON: %w", err)
	}
	return value, nil
}

// checkValue validates a value against a schema and records the coverage.
func checkValue(seen *coverage, schema *openapi3.Schema, value any) error {
	if err := schema.VisitJSON(value, openapi3.VisitAsResponse(), openapi3.MultiErrors()); err != nil {
		return err
	}
	if seen == nil {
		seen = newCoverage() // discarded; addValue also checks times
	}
	seen.mu.Lock()
	defer seen.mu.Unlock()
	return seen.addValue(schema, value)
}

func mediaType(header http.Header) string {
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return kind
}

func isJSON(kind string) bool { return kind == "application/json" || kind == problemJSON }
