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

// openAIError is the error of a body or an event in OpenAI's format.
type openAIError struct {
	Error struct {
		Message, Type, Code string
		Param               *string
	}
}

// checkOpenAIProblem is checkProblem for paths below /v1. where is a pointer there as well.
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

// asParam converts a pointer, or the name of a parameter, to OpenAI's notation.
func asParam(where string) string {
	return strings.TrimPrefix(strings.ReplaceAll(pointerIndex.ReplaceAllString(where, "[$1]"), "/", "."), ".")
}

// detail returns the message of an error in either format.
func (a answer) detail() string {
	a.t.Helper()
	if failure, ok := a.json()["error"].(object); ok {
		return text(failure, "message")
	}
	return text(a.json(), "detail")
}
