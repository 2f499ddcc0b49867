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

// ordinary are the headers that HTTP, CORS and proxies have their own documents for, and those that tell browsers to be
// careful; Allow is on a 405 alone, which is no operation's.
var ordinary = words(`Accept-Ranges Access-Control-Allow-Headers Access-Control-Allow-Methods Access-Control-Allow-Origin
	Access-Control-Expose-Headers Access-Control-Max-Age Cache-Control Connection Content-Length Content-Type Date Referrer-Policy
	Sec-Websocket-Accept Sec-Websocket-Protocol Sec-Websocket-Version Transfer-Encoding Upgrade Vary X-Accel-Buffering X-Content-Type-Options X-Frame-Options`)

func words(text string) map[string]bool {
	all := map[string]bool{}
	for _, word := range strings.Fields(text) {
		all[word] = true
	}
	return all
}

// mistakes holds an answer against the document; met gets what was met, and may be nil.
func mistakes(met *meetings, request *http.Request, response *http.Response, body []byte) []error {
	var found []error
	add := func(err error) {
		if err != nil {
			found = append(found, err)
		}
	}
	if response.StatusCode >= 400 {
		add(failure(met, request, response, body))
	}
	op, isDeclared := find(request.Method, request.URL.EscapedPath())
	if !isDeclared {
		add(undeclared(request, response))
		return found
	}
	described := op.Responses.Value(statusOf(response))
	if described == nil {
		return append(found, fmt.Errorf("%s does not have the status %d", op.OperationID, response.StatusCode))
	}
	kind := mediaType(response.Header)
	met.answer(op.OperationID, response, described.Value, kind)
	for _, err := range headers(described.Value, response.Header) {
		add(err)
	}
	media := described.Value.Content[kind]
	switch {
	case len(described.Value.Content) == 0 && len(body) > 0:
		add(fmt.Errorf("%s has no body for %d", op.OperationID, response.StatusCode))
	case len(described.Value.Content) > 0 && media == nil:
		add(fmt.Errorf("%s has no %q for %d", op.OperationID, kind, response.StatusCode))
	case media != nil && response.StatusCode < 400:
		add(content(met, kind, media.Schema.Value, body))
	}
	return found
}

// undeclared tells of a success where the document has no operation.
func undeclared(request *http.Request, response *http.Response) error {
	path := request.URL.Path
	isPreflight := request.Method == http.MethodOptions && response.StatusCode == http.StatusNoContent
	isAsset := request.Method == http.MethodGet && strings.HasPrefix(path, "/docs/")
	if response.StatusCode >= 400 || isPreflight || isAsset {
		return nil
	}
	return errors.New("there is no such operation")
}

// headers holds those of an answer against those that it may have, and must.
func headers(described *openapi3.Response, sent http.Header) []error {
	var found []error
	declared := map[string]*openapi3.Header{}
	for name, header := range described.Headers {
		declared[http.CanonicalHeaderKey(name)] = header.Value
		if header.Value.Required && sent.Get(name) == "" {
			found = append(found, fmt.Errorf("the header %s is missing", name))
		}
	}
	for name, values := range sent {
		header := declared[name]
		switch {
		case header == nil && !ordinary[name]:
			found = append(found, fmt.Errorf("the header %s is not declared", name))
		case header != nil && len(values) != 1:
			found = append(found, fmt.Errorf("the header %s comes %d times", name, len(values)))
		case header != nil:
			if err := headerValue(header.Schema.Value, values[0]); err != nil {
				found = append(found, fmt.Errorf("the header %s: %w", name, err))
			}
		}
	}
	return found
}

func headerValue(schema *openapi3.Schema, text string) error {
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

// content holds a body against its schema: of a stream each event, of lines each one.
func content(met *meetings, kind string, schema *openapi3.Schema, body []byte) error {
	switch {
	case isJSON(kind):
		return jsonText(met, schema, body)
	case kind == eventStream:
		return eachLine(body, func(line []byte) error {
			data, ok := bytes.CutPrefix(line, []byte("data: "))
			if !ok || string(data) == "[DONE]" && len(schema.AnyOf) > 0 { // OpenAI's way to end
				return nil
			}
			return jsonText(met, schema, data)
		})
	case kind == jsonLines:
		return eachLine(body, func(line []byte) error { return jsonText(met, schema, line) })
	}
	return nil // all others are texts and files, of which a schema says no more
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

// large is how long a text is that is remembered once it has passed: the document itself, which is served often.
const large = 128 << 10

var passed sync.Map // by schema and the text's hash

func jsonText(met *meetings, schema *openapi3.Schema, text []byte) error {
	var key any
	if len(text) >= large {
		key = [2]any{schema, sha256.Sum256(text)}
		if _, isKnown := passed.Load(key); isKnown {
			return nil
		}
	}
	value, err := decode(text)
	if err == nil {
		err = holds(met, schema, value)
	}
	if err == nil && key != nil {
		passed.Store(key, true)
	}
	return err
}

// decode reads a JSON text, the numbers as they are written: a free object's may be larger than a float64.
func decode(text []byte) (any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, fmt.Errorf("it is no JSON: %w", err)
	}
	return value, nil
}

func mediaType(header http.Header) string {
	kind, _, _ := mime.ParseMediaType(header.Get("Content-Type"))
	return kind
}

func isJSON(kind string) bool { return kind == "application/json" || kind == problemJSON }
