package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// isOpenAI reports whether a path has errors in OpenAI's format.
func isOpenAI(path string) bool {
	return path == "/v1" || strings.HasPrefix(path, "/v1/")
}

// openAIError is the failure that a body or an event tells.
type openAIError struct {
	Error struct {
		Message, Type, Code string
		Param               *string
	}
}

// checkOpenAIProblem is isRefused for what is below /v1; where is a pointer all the same.
func (a answer) checkOpenAIProblem(status int, code, where string) error {
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
