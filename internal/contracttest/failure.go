package contracttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// internals are words that no caller may read: of the database, the runtime and the network behind the server.
var internals = regexp.MustCompile(`(?i)sqlstate|pgx|postgres|redis|dial tcp|dial unix|\.go:\d|goroutine|panic|relation "|column "|context (canceled|deadline)|EOF\b`)

// failure holds a failure against what all have, on declared paths and others: problem documents, and below /v1 OpenAI's
// errors.
func failure(met *meetings, request *http.Request, response *http.Response, body []byte) error {
	if response.Header.Get("X-Request-Id") == "" {
		return errors.New("a failure has no X-Request-Id")
	}
	if response.StatusCode == http.StatusUnauthorized && response.Header.Get("WWW-Authenticate") == "" {
		return errors.New("a 401 has no WWW-Authenticate")
	}
	if request.Method == http.MethodHead {
		return nil
	}
	if response.StatusCode >= 500 && internals.Match(body) {
		return fmt.Errorf("it tells of %q", internals.Find(body))
	}
	if isOpenAI(request.URL.Path) {
		return openAIError(met, response, body)
	}
	return problem(met, response, body)
}

func problem(met *meetings, response *http.Response, body []byte) error {
	if kind := response.Header.Get("Content-Type"); kind != problemJSON {
		return fmt.Errorf("a failure is of the type %q", kind)
	}
	value, err := decode(body)
	if err != nil {
		return err
	}
	if err := holds(met, named("Problem"), value); err != nil {
		return fmt.Errorf("the problem document: %w", err)
	}
	told := value.(map[string]any)
	switch {
	case told["status"] != json.Number(fmt.Sprint(response.StatusCode)):
		return fmt.Errorf("status is %v", told["status"])
	case told["request_id"] != response.Header.Get("X-Request-Id"):
		return fmt.Errorf("request_id is %v, X-Request-Id %s", told["request_id"], response.Header.Get("X-Request-Id"))
	case told["type"] != fmt.Sprintf("/problems/%s", told["error"]):
		return fmt.Errorf("type is %v, error %v", told["type"], told["error"])
	case told["title"] == "" || told["detail"] == "":
		return errors.New("title or detail is empty")
	case (told["retry_after"] != nil) != (response.Header.Get("Retry-After") != ""):
		return fmt.Errorf("retry_after is %v, Retry-After %q", told["retry_after"], response.Header.Get("Retry-After"))
	}
	return nil
}

// isOpenAI tells whether what is at a path speaks OpenAI's error shape.
func isOpenAI(path string) bool { return path == "/v1" || strings.HasPrefix(path, "/v1/") }

func openAIError(met *meetings, response *http.Response, body []byte) error {
	if kind := response.Header.Get("Content-Type"); kind != "application/json" {
		return fmt.Errorf("a failure is of the type %q", kind)
	}
	value, err := decode(body)
	if err != nil {
		return err
	}
	if err := holds(met, named("OpenAIError"), value); err != nil {
		return fmt.Errorf("the failure: %w", err)
	}
	detail := value.(map[string]any)["error"].(map[string]any)
	wanted := map[int]string{401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}[response.StatusCode]
	switch {
	case wanted == "" && response.StatusCode >= 500:
		wanted = "server_error"
	case wanted == "":
		wanted = "invalid_request_error"
	}
	switch {
	case detail["type"] != wanted:
		return fmt.Errorf("the type is %v, want %s", detail["type"], wanted)
	case detail["message"] == "":
		return errors.New("the message is empty")
	case response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == "":
		return errors.New("a 429 without Retry-After")
	}
	return nil
}
