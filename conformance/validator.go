package conformance

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// validator validates every response of the run against the rules for all responses, whatever check sent the request.
// The checks at the end report the violations. It is safe for concurrent use.
type validator struct {
	document *document
	basePath string // of the deployment's URL

	mu        sync.Mutex
	responses int
	faults    map[string][]string // by the name of the check that reports them
}

// document is the OpenAPI document that the deployment serves.
type document struct {
	*openapi3.T

	router routers.Router
}

func newValidator(baseURL string) (*validator, error) {
	address, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("parse the base URL: %w", err)
	}
	return &validator{basePath: address.EscapedPath(), faults: map[string][]string{}}, nil
}

// fetchDocument returns the document, or nil if it cannot be read. A check reports that failure.
func (r *runner) fetchDocument(ctx context.Context) *document {
	var fetched *document
	_ = r.attempt(ctx, func(t *checker) {
		parsed, err := openapi3.NewLoader().LoadFromData(t.anonymous().get("/openapi.json").body)
		if err != nil {
			return
		}
		parsed.Servers = openapi3.Servers{{URL: "/"}} // validate responses under any server URL, because proxies may change it
		if router, err := gorillamux.NewRouter(parsed); err == nil {
			fetched = &document{parsed, router}
		}
	})
	return fetched
}

// The checks that report the violations.
const (
	checkRedirects  = "responses/no-redirect"
	checkRequestIDs = "responses/request-id"
	checkProblems   = "responses/problem"
	checkTimes      = "responses/times"
	checkDocumented = "responses/documented"
)

func responseChecks() []check {
	reporting := func(name, rule string) check {
		return forAnyKey(name, rule, func(t *checker) { t.validator.report(t, name) })
	}
	return []check{
		reporting(checkRedirects, "No request was redirected: a redirect loses the body of a POST, and many clients do not follow it."),
		reporting(checkRequestIDs, "Every response had an X-Request-Id."),
		reporting(checkProblems, "Every error was a problem document, or an OpenAI error below /v1, with its status and request ID."),
		reporting(checkTimes, "Every time was in UTC with six fraction digits."),
		reporting(checkDocumented, "Every other response, event and frame was valid under the served document."),
	}
}

// report fails a check with its violations.
func (v *validator) report(t *checker, name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if name == checkDocumented && v.document == nil {
		t.fatalf("the deployment serves no valid document")
	}
	const shown = 3
	faults := v.faults[name]
	for _, fault := range faults[:min(len(faults), shown)] {
		t.errorf("%s", fault)
	}
	if len(faults) > shown {
		t.errorf("and %d more in %d responses", len(faults)-shown, v.responses)
	}
}

func (v *validator) addFault(check, format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.faults[check] = append(v.faults[check], truncate(fmt.Sprintf(format, args...), 400))
}

// check validates a response.
func (v *validator) check(request *http.Request, got response) {
	v.mu.Lock()
	v.responses++
	v.mu.Unlock()
	if got.header.Get("X-Request-Id") == "" && got.header.Get("Location") == "" {
		v.addFault(checkRequestIDs, "%s: no X-Request-Id", got.request)
	}
	kind, _, _ := mime.ParseMediaType(got.header.Get("Content-Type")) // a body that is not valid JSON has no schema
	switch {
	case got.status >= 300 && got.status <= 399 && got.status != http.StatusNotModified:
		v.addFault(checkRedirects, "%s is redirected (%d) to %s", got.request, got.status, got.header.Get("Location"))
		return
	case got.status >= 400 && request.Method != http.MethodHead:
		v.checkError(request, got, kind)
		return
	}
	if kind != "application/json" {
		return
	}
	var value any
	if err := json.Unmarshal(got.body, &value); err != nil {
		v.addFault(checkDocumented, "%s: invalid JSON: %s", got.request, got.excerpt())
		return
	}
	v.checkTimesIn(got.request, value)
	if err := v.checkOperation(request, got.status, kind, value); err != nil {
		v.addFault(checkDocumented, "%s: %v", got.request, err)
	}
}

// pathOf returns the path of a request relative to the document's server URL.
func (v *validator) pathOf(request *http.Request) string {
	return strings.TrimPrefix(request.URL.EscapedPath(), v.basePath)
}

func (v *validator) checkError(request *http.Request, got response, kind string) {
	wantKind, schema := "application/problem+json", "Problem"
	if strings.HasPrefix(v.pathOf(request), "/v1/") {
		wantKind, schema = "application/json", "OpenAIError"
	}
	problem := got.object()
	id := got.header.Get("X-Request-Id")
	schemaErr := v.checkSchema(schema, map[string]any(problem))
	switch {
	case kind != wantKind || problem == nil:
		v.addFault(checkProblems, "%s: the error %d has the type %q: %s", got.request, got.status, got.header.Get("Content-Type"), got.excerpt())
	case schemaErr != nil:
		v.addFault(checkProblems, "%s: %v", got.request, schemaErr)
	case schema == "Problem" && problem.num("status") != got.status:
		v.addFault(checkProblems, "%s: the status is %d, the problem's status %d", got.request, got.status, problem.num("status"))
	case schema == "Problem" && id != "" && problem.str("request_id") != id:
		v.addFault(checkRequestIDs, "%s: X-Request-Id is %s, the problem's request_id %s", got.request, id, problem.str("request_id"))
	}
}

// checkSchema validates a value against a schema of the document. Without a schema, every value is valid.
func (v *validator) checkSchema(name string, value any) error {
	if v.document == nil || v.document.Components == nil || v.document.Components.Schemas[name] == nil {
		return nil
	}
	return v.document.Components.Schemas[name].Value.VisitJSON(value, openapi3.VisitAsResponse())
}

// checkPart validates a part of a response that has its own schema: an event, a line or a frame.
func (v *validator) checkPart(description, schema string, value object) {
	v.checkTimesIn(description, map[string]any(value))
	if err := v.checkSchema(schema, map[string]any(value)); err != nil {
		v.addFault(checkDocumented, "%s: %v", description, err)
	}
}

// checkOperation validates a response against its operation. Responses on aliases of paths are not validated, because
// the document does not declare aliases.
func (v *validator) checkOperation(request *http.Request, status int, kind string, value any) error {
	if v.document == nil {
		return nil
	}
	route, _, err := v.document.router.FindRoute(&http.Request{Method: request.Method, URL: &url.URL{Path: v.pathOf(request)}})
	if err != nil {
		return nil //nolint:nilerr // the document does not declare the path
	}
	declared := route.Operation.Responses.Status(status)
	if declared == nil {
		return fmt.Errorf("%s does not declare the status %d", route.Operation.OperationID, status)
	}
	content := declared.Value.Content.Get(kind)
	if content == nil || content.Schema == nil {
		return fmt.Errorf("%s does not declare %s for the status %d", route.Operation.OperationID, kind, status)
	}
	return content.Schema.Value.VisitJSON(value, openapi3.VisitAsResponse())
}

var (
	anyTime   = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d`)
	timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
)

// freeFields are fields with arbitrary contents, which may look like a time.
var freeFields = []string{"metadata", "contentPayload", "queryMetadata", "canvas", "content", "title", "name", "inputMessage", "outputMessage", "example", "examples"}

// checkTimesIn reports times in a value that are not in UTC with six fraction digits.
func (v *validator) checkTimesIn(where string, value any) {
	switch value := value.(type) {
	case string:
		if anyTime.MatchString(value) && !timestamp.MatchString(value) {
			v.addFault(checkTimes, "%s is %q", where, value)
		}
	case []any:
		for _, item := range value {
			v.checkTimesIn(where, item)
		}
	case map[string]any:
		for key, item := range value {
			if !slices.Contains(freeFields, key) {
				v.checkTimesIn(where+" "+key, item)
			}
		}
	}
}
