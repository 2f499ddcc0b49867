package contracttest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
)

// internalDetails matches details of the database, the runtime and the network, which callers must not see.
var internalDetails = regexp.MustCompile(`(?i)sqlstate|pgx|postgres|redis|dial tcp|dial unix|\.go:\d|goroutine|panic|relation "|column "|context (canceled|deadline)|EOF\b`)

// checkFailure validates the parts that all errors have, on declared and other paths: a problem document, or below
// /v1 an OpenAI error.
func checkFailure(seen *coverage, request *http.Request, response *http.Response, body []byte) error {
	if response.Header.Get("X-Request-Id") == "" {
		return errors.New("an error has no X-Request-Id")
	}
	if response.StatusCode == http.StatusUnauthorized && response.Header.Get("WWW-Authenticate") == "" {
		return errors.New("a 401 has no WWW-Authenticate")
	}
	if request.Method == http.MethodHead {
		return nil
	}
	if response.StatusCode >= 500 && internalDetails.Match(body) {
		return fmt.Errorf("it reveals %q", internalDetails.Find(body))
	}
	if isOpenAI(request.URL.Path) {
		return checkOpenAIError(seen, response, body)
	}
	return checkProblem(seen, response, body)
}

func checkProblem(seen *coverage, response *http.Response, body []byte) error {
	if kind := response.Header.Get("Content-Type"); kind != problemJSON {
		return fmt.Errorf("an error has the media type %q", kind)
	}
	value, err := decode(body)
	if err != nil {
		return err
	}
	if err := checkValue(seen, schemaNamed("Problem"), value); err != nil {
		return fmt.Errorf("problem document: %w", err)
	}
	problem := value.(map[string]any)
	switch {
	case problem["status"] != json.Number(fmt.Sprint(response.StatusCode)):
		return fmt.Errorf("status is %v", problem["status"])
	case problem["request_id"] != response.Header.Get("X-Request-Id"):
		return fmt.Errorf("request_id is %v, X-Request-Id %s", problem["request_id"], response.Header.Get("X-Request-Id"))
	case problem["type"] != fmt.Sprintf("/problems/%s", problem["error"]):
		return fmt.Errorf("type is %v, error %v", problem["type"], problem["error"])
	case problem["title"] == "" || problem["detail"] == "":
		return errors.New("title or detail is empty")
	case response.StatusCode == http.StatusBadRequest && problem["errors"] == nil:
		return errors.New("a 400 has no errors")
	case (problem["retry_after"] != nil) != (response.Header.Get("Retry-After") != ""):
		return fmt.Errorf("retry_after is %v, Retry-After %q", problem["retry_after"], response.Header.Get("Retry-After"))
	}
	return nil
}

// isOpenAI reports whether errors at a path have OpenAI's shape.
func isOpenAI(path string) bool { return openAIPath.MatchString(path) }

// openAIPath matches the paths below /v1, those of SDKs whose base URL lacks it, and the aliases of chat
// completions.
var openAIPath = regexp.MustCompile(`(?s)^(/v1($|/.*)|/(chat/completions|completions|embeddings|models|responses)($|/.*)|/api(/v1)?/chat/completions/?)$`)

func checkOpenAIError(seen *coverage, response *http.Response, body []byte) error {
	if kind := response.Header.Get("Content-Type"); kind != "application/json" {
		return fmt.Errorf("an error has the media type %q", kind)
	}
	value, err := decode(body)
	if err != nil {
		return err
	}
	if err := checkValue(seen, schemaNamed("OpenAIError"), value); err != nil {
		return fmt.Errorf("OpenAI error: %w", err)
	}
	detail := value.(map[string]any)["error"].(map[string]any)
	want := map[int]string{401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}[response.StatusCode]
	switch {
	case want == "" && response.StatusCode >= 500:
		want = "server_error"
	case want == "":
		want = "invalid_request_error"
	}
	switch {
	case detail["type"] != want:
		return fmt.Errorf("type is %v, want %s", detail["type"], want)
	case detail["message"] == "":
		return errors.New("message is empty")
	case response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == "":
		return errors.New("a 429 has no Retry-After")
	}
	return nil
}
