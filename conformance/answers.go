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

// answers looks at every answer of the run, whatever it was asked for. What it finds is told by the checks at the end.
type answers struct {
	document *document
	basePath string // of the deployment's address
	mu       sync.Mutex
	looked   int
	faults   map[string][]string // by the name of the check that tells them
}

func newAnswers(baseURL string) (*answers, error) {
	address, err := url.Parse(baseURL)
	if err != nil {
		return nil, fmt.Errorf("the address of the deployment: %w", err)
	}
	return &answers{basePath: address.EscapedPath(), faults: map[string][]string{}}, nil
}

// pathOf is a request's path as the document would have it.
func (a *answers) pathOf(request *http.Request) string {
	return strings.TrimPrefix(request.URL.EscapedPath(), a.basePath)
}

// document is the one that the deployment serves.
type document struct {
	*openapi3.T
	router routers.Router
}

// fetchDocument reads the document; nil where that cannot be done, which a check of its own tells.
func (d *deployment) fetchDocument(ctx context.Context) *document {
	var read *document
	t := &trial{deployment: d, ctx: ctx}
	_ = d.attempt(t, func() {
		parsed, err := openapi3.NewLoader().LoadFromData(t.nobody().get("/openapi.json").body)
		if err != nil {
			return
		}
		if router, err := gorillamux.NewRouter(parsed); err == nil {
			read = &document{parsed, router}
		}
	})
	return read
}

const (
	redirects    = "every-answer/no-redirect"
	requestIDs   = "every-answer/request-id"
	problems     = "every-answer/problem"
	times        = "every-answer/times"
	asDocumented = "every-answer/documented"
)

func answerChecks() []check {
	told := func(name, holds string) check {
		return check{name: name, holds: holds, ask: func(t *trial) { t.seen.tell(t, name) }}
	}
	return []check{
		told(redirects, "No request of the run was redirected: a redirect loses a POST's body, and many clients do not follow it."),
		told(requestIDs, "Every answer of the run had an X-Request-Id."),
		told(problems, "Every failure of the run was a problem document, below /v1 OpenAI's error, with its status and request id."),
		told(times, "Every time in the run's answers was in UTC with six fraction digits."),
		told(asDocumented, "Every other answer, event and frame of the run was as the served document has it."),
	}
}

// tell fails a check with what was found.
func (a *answers) tell(t *trial, name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if name == asDocumented && a.document == nil {
		t.fail("there is no document to hold answers against")
	}
	found := a.faults[name]
	for _, one := range found[:min(len(found), 3)] {
		t.wrong("%s", one)
	}
	if len(found) > 3 {
		t.wrong("and %d more, of %d answers", len(found)-3, a.looked)
	}
}

// note notes what is wrong with an answer.
func (a *answers) note(name, format string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.faults[name] = append(a.faults[name], shortened(fmt.Sprintf(format, args...), 400))
}

// look looks at an answer.
func (a *answers) look(request *http.Request, got answer) {
	a.mu.Lock()
	a.looked++
	a.mu.Unlock()
	if got.header.Get("X-Request-Id") == "" && got.header.Get("Location") == "" {
		a.note(requestIDs, "%s: the answer has no X-Request-Id", got.asked)
	}
	kind, _, _ := mime.ParseMediaType(got.header.Get("Content-Type")) // an unknown one is no JSON
	switch {
	case got.status >= 300 && got.status <= 399 && got.status != http.StatusNotModified:
		a.note(redirects, "%s is redirected (%d) to %s", got.asked, got.status, got.header.Get("Location"))
		return
	case got.status >= 400 && request.Method != http.MethodHead:
		a.lookAtFailure(request, got, kind)
		return
	}
	if kind != "application/json" {
		return
	}
	var value any
	if err := json.Unmarshal(got.body, &value); err != nil {
		a.note(asDocumented, "%s: the answer is no JSON: %s", got.asked, got.excerpt())
		return
	}
	a.lookAtTimes(got.asked, value)
	if err := a.schemaOf(request, got.status, kind, value); err != nil {
		a.note(asDocumented, "%s: %v", got.asked, err)
	}
}

func (a *answers) lookAtFailure(request *http.Request, got answer, kind string) {
	wanted, schema := "application/problem+json", "Problem"
	if strings.HasPrefix(a.pathOf(request), "/v1/") {
		wanted, schema = "application/json", "OpenAIError"
	}
	problem := got.json()
	id := got.header.Get("X-Request-Id")
	switch {
	case kind != wanted || problem == nil:
		a.note(problems, "%s: %d is told as %q: %s", got.asked, got.status, got.header.Get("Content-Type"), got.excerpt())
	case a.visit(schema, map[string]any(problem)) != nil:
		a.note(problems, "%s: %v", got.asked, a.visit(schema, map[string]any(problem)))
	case schema == "Problem" && problem.num("status") != got.status:
		a.note(problems, "%s: %d is told as %d", got.asked, got.status, problem.num("status"))
	case schema == "Problem" && id != "" && problem.str("request_id") != id:
		a.note(requestIDs, "%s: the problem is of the request %s, the answer's X-Request-Id is %s", got.asked, problem.str("request_id"), id)
	}
}

// visit holds a value against a schema of the document; without one everything is well.
func (a *answers) visit(schema string, value any) error {
	if a.document == nil || a.document.Components == nil || a.document.Components.Schemas[schema] == nil {
		return nil
	}
	return a.document.Components.Schemas[schema].Value.VisitJSON(value, openapi3.VisitAsResponse())
}

// lookAtPart looks at a part of an answer that has a schema of its own: an event, a line, a frame.
func (a *answers) lookAtPart(what, schema string, value object) {
	a.lookAtTimes(what, map[string]any(value))
	if err := a.visit(schema, map[string]any(value)); err != nil {
		a.note(asDocumented, "%s: %v", what, err)
	}
}

// schemaOf holds an answer against what the document has for its operation. The aliases of paths are not in it.
func (a *answers) schemaOf(request *http.Request, status int, kind string, value any) error {
	if a.document == nil {
		return nil
	}
	route, _, err := a.document.router.FindRoute(&http.Request{Method: request.Method, URL: &url.URL{Path: a.pathOf(request)}})
	if err != nil {
		return nil //nolint:nilerr // the document does not know the path
	}
	declared := route.Operation.Responses.Status(status)
	if declared == nil {
		return fmt.Errorf("%s has no %d", route.Operation.OperationID, status)
	}
	content := declared.Value.Content.Get(kind)
	if content == nil || content.Schema == nil {
		return fmt.Errorf("%s has no %d of the type %s", route.Operation.OperationID, status, kind)
	}
	return content.Schema.Value.VisitJSON(value, openapi3.VisitAsResponse())
}

var (
	anyTime = regexp.MustCompile(`^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d`)
	ourTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
)

// callersOwn are the fields that hold what callers write, times of theirs included, and the document's own examples.
var callersOwn = []string{"metadata", "contentPayload", "queryMetadata", "canvas", "content", "title", "name", "inputMessage", "outputMessage", "example", "examples"}

// lookAtTimes finds times that are written in another way than they are to be.
func (a *answers) lookAtTimes(where string, value any) {
	switch value := value.(type) {
	case string:
		if anyTime.MatchString(value) && !ourTime.MatchString(value) {
			a.note(times, "%s is %q", where, value)
		}
	case []any:
		for _, item := range value {
			a.lookAtTimes(where, item)
		}
	case map[string]any:
		for key, item := range value {
			if !slices.Contains(callersOwn, key) {
				a.lookAtTimes(where+" "+key, item)
			}
		}
	}
}
