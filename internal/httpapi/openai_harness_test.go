package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// isOpenAI tells whether what is at a path speaks OpenAI's error shape.
func isOpenAI(path string) bool {
	return path == "/v1" || strings.HasPrefix(path, "/v1/")
}

// checkOpenAIError holds a failure below /v1 against the schema that all have, on declared routes and others.
func checkOpenAIError(response *http.Response, body []byte) error {
	if kind := response.Header.Get("Content-Type"); kind != "application/json" {
		return fmt.Errorf("a failure is of the type %q", kind)
	}
	var failure map[string]any
	if err := json.Unmarshal(body, &failure); err != nil {
		return fmt.Errorf("the failure: %w", err)
	}
	if err := schemaOf("OpenAIError").VisitJSON(failure, openapi3.VisitAsResponse()); err != nil {
		return fmt.Errorf("the failure: %w", err)
	}
	detail := failure["error"].(object)
	wanted := map[int]string{401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}[response.StatusCode]
	switch {
	case wanted == "" && response.StatusCode >= 500:
		wanted = "server_error"
	case wanted == "":
		wanted = "invalid_request_error"
	}
	switch {
	case len(failure) != 1 || len(detail) != 4:
		return errors.New("the failure has more than it should")
	case detail["type"] != wanted:
		return fmt.Errorf("the type is %v, want %s", detail["type"], wanted)
	case detail["message"] == "":
		return errors.New("the message is empty")
	case response.StatusCode == http.StatusUnauthorized && response.Header.Get("WWW-Authenticate") == "":
		return errors.New("a 401 without WWW-Authenticate")
	case (response.StatusCode == http.StatusTooManyRequests) && response.Header.Get("Retry-After") == "":
		return errors.New("a 429 without Retry-After")
	}
	return nil
}

// openAIError is the failure that a body or an event tells.
type openAIError struct {
	Error struct {
		Message, Type, Code string
		Param               *string
	}
}

// isRefusedAsOpenAIDoes is isRefused for what is below /v1; where is a pointer all the same.
func (a answer) isRefusedAsOpenAIDoes(status int, code, where string) error {
	var failure openAIError
	if err := json.Unmarshal(a.body, &failure); err != nil {
		return fmt.Errorf("%s: %w", a.request, err)
	}
	got := failure.Error
	if got.Code == "model_not_found" && code == "not_found" {
		got.Code = code
	}
	if a.status != status || got.Code != code {
		return fmt.Errorf("%s: %d %s, want %d %s\n%s", a.request, a.status, got.Code, status, code, a.body)
	}
	if where != "" && (got.Param == nil || *got.Param != asParam(where)) {
		return errors.New(a.request + ": the param is not " + asParam(where) + "\n" + string(a.body))
	}
	return nil
}

var pointerIndex = regexp.MustCompile(`/(\d+)`)

// asParam spells a pointer, or a parameter's name, as OpenAI does.
func asParam(where string) string {
	return strings.TrimPrefix(strings.ReplaceAll(pointerIndex.ReplaceAllString(where, "[$1]"), "/", "."), ".")
}

// detail is the sentence for the caller of a refusal of either form.
func (a answer) detail() string {
	a.t.Helper()
	if failure, ok := a.json()["error"].(object); ok {
		return text(failure, "message")
	}
	return text(a.json(), "detail")
}
