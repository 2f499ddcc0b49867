package httpapi_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"
)

// object is a JSON object. Its numbers are json.Number, which keeps all digits.
type object = map[string]any

// answer is a response.
type answer struct {
	t       testing.TB
	request string
	status  int
	header  http.Header
	body    []byte
}

// option changes a request before it is sent.
type option func(*http.Request)

func withHeader(name, value string) option {
	return func(request *http.Request) { request.Header.Set(name, value) }
}

// call sends a request with the caller's key and reads the response. A string or a reader is sent unchanged, any
// other body as JSON.
func (c caller) call(method, path string, body any, options ...option) answer {
	c.t.Helper()
	return c.server.call(method, path, body, append([]option{withHeader("Authorization", "Api-Key "+c.key)}, options...)...)
}

// call sends a request without a key.
func (s *server) call(method, path string, body any, options ...option) answer {
	s.t.Helper()
	got, err := s.tryCall(method, path, body, options...)
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, path, err)
	}
	return got
}

// tryCall is call for goroutines, which must not end the test.
func (s *server) tryCall(method, path string, body any, options ...option) (answer, error) {
	request, err := s.request(method, path, body, options...)
	if err != nil {
		return answer{}, err
	}
	response, err := s.http.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	got := answer{t: s.t, request: method + " " + path, status: response.StatusCode, header: response.Header}
	if got.status == http.StatusSwitchingProtocols {
		return got, nil // the package wsapi tests sockets
	}
	got.body, err = io.ReadAll(response.Body)
	return got, err
}

// request builds a request. A full URL is used unchanged.
func (s *server) request(method, path string, body any, options ...option) (*http.Request, error) {
	var content io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		content = strings.NewReader(body)
	case io.Reader:
		content = body
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	if !strings.HasPrefix(path, "http") {
		path = s.url + path
	}
	request, err := http.NewRequestWithContext(s.t.Context(), method, path, content)
	if err != nil {
		return nil, err
	}
	if content != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, change := range options {
		change(request)
	}
	return request, nil
}

// wantStatus fails the test unless the response has that status, and returns its JSON object.
func (a answer) wantStatus(status int) object {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: %d, want %d\n%s", a.request, a.status, status, a.body)
	}
	if status == http.StatusNoContent {
		if len(a.body) > 0 {
			a.t.Fatalf("%s: a 204 with a body", a.request)
		}
		return nil
	}
	return a.json()
}

func (a answer) json() object {
	a.t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.UseNumber()
	var value object
	if err := decoder.Decode(&value); err != nil {
		a.t.Fatalf("%s: %v\n%s", a.request, err, a.body)
	}
	return value
}

// wantProblem fails the test unless the response is that problem, and returns it. where is the pointer or parameter
// that one of its errors must name. If where is empty, any place is accepted.
func (a answer) wantProblem(status int, code, where string) object {
	a.t.Helper()
	if err := a.checkProblem(status, code, where); err != nil {
		a.t.Fatal(err)
	}
	return a.json()
}

func (a answer) checkProblem(status int, code, where string) error {
	if _, path, _ := strings.Cut(a.request, " "); isOpenAI(path) {
		return a.checkOpenAIProblem(status, code, where)
	}
	var problem struct {
		Error  string
		Errors []struct{ Pointer, Parameter string }
	}
	if err := json.Unmarshal(a.body, &problem); err != nil {
		return fmt.Errorf("%s: %w", a.request, err)
	}
	if a.status != status || problem.Error != code {
		return fmt.Errorf("%s: %d %s, want %d %s\n%s", a.request, a.status, problem.Error, status, code, a.body)
	}
	if where == "" {
		return nil
	}
	for _, violation := range problem.Errors {
		if violation.Pointer == where || violation.Parameter == where {
			return nil
		}
	}
	return errors.New(a.request + ": no error names " + where + "\n" + string(a.body))
}

// get, post, patch and remove send requests that must succeed.
func (c caller) get(path string) object {
	c.t.Helper()
	return c.call(http.MethodGet, path, nil).wantStatus(http.StatusOK)
}

func (c caller) post(path string, body any, options ...option) object {
	c.t.Helper()
	return c.call(http.MethodPost, path, body, options...).wantStatus(http.StatusCreated)
}

func (c caller) patch(path string, body any) object {
	c.t.Helper()
	return c.call(http.MethodPatch, path, body).wantStatus(http.StatusOK)
}

func (c caller) remove(path string) {
	c.t.Helper()
	c.call(http.MethodDelete, path, nil).wantStatus(http.StatusNoContent)
}

// startConversation creates a conversation with the default bot and returns its ID.
func (c caller) startConversation() string {
	c.t.Helper()
	return text(c.post("/api/conversations/start", object{}), "conversation_id")
}

// sendMessage sends a message and returns the response.
func (c caller) sendMessage(conversation, content string) object {
	c.t.Helper()
	return c.post("/api/conversations/"+conversation+"/messages", object{"content": content})
}

// ask sends a message and waits until the bot has answered all messages of the conversation.
func (c caller) ask(conversation, content string) object {
	c.t.Helper()
	sent := c.sendMessage(conversation, content)
	c.awaitRun(text(sent, "run_id"))
	return sent
}

// awaitRun waits until a run has ended and returns it.
func (c caller) awaitRun(id string) object {
	c.t.Helper()
	var run object
	eventually(c.t, "the run ends", func() bool {
		run = c.get("/api/runs/" + id + "/")
		return run["finishedAt"] != nil
	})
	return run
}

// history returns all messages of a conversation with at most 100 messages.
func (c caller) history(conversation string) []object {
	c.t.Helper()
	return objects(c.get("/api/conversations/"+conversation+"/history?limit=100"), "messages")
}

// text returns a string field, and objects a list of objects.
func text(from object, field string) string {
	value, ok := from[field].(string)
	if !ok {
		panic(fmt.Sprintf("%s is not a string in %v", field, from))
	}
	return value
}

func objects(from object, field string) []object {
	list, ok := from[field].([]any)
	if !ok {
		panic(fmt.Sprintf("%s is not a list in %v", field, from))
	}
	found := make([]object, len(list))
	for i, item := range list {
		found[i] = item.(object)
	}
	return found
}

// number returns an integer field.
func number(from object, field string) int {
	n, err := from[field].(json.Number).Int64()
	if err != nil {
		panic(err)
	}
	return int(n)
}

// upload returns a multipart body with one file, and the option that sets its Content-Type.
func upload(field, filename string, content []byte) (*bytes.Buffer, option) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part := must(form.CreateFormFile(field, filename))
	must(part.Write(content))
	if err := form.Close(); err != nil {
		panic(err)
	}
	return &body, withHeader("Content-Type", form.FormDataContentType())
}
