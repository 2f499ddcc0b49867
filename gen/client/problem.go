package client

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// WithKey has every request carry a key or a client token.
func WithKey(key string) ClientOption {
	return WithRequestEditorFn(func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+key)
		return nil
	})
}

// ProblemError is a refusal or a failure, as the server told it.
type ProblemError struct {
	// Problem is the problem document. Where the answer was none, as one of a proxy's own, it has the status, and no
	// Error code.
	Problem Problem
}

// Error says it in a line.
func (e *ProblemError) Error() string {
	p := e.Problem
	if p.Error == "" {
		return fmt.Sprintf("status %d, and no problem document: %s", p.Status, p.Detail)
	}
	return fmt.Sprintf("%s (%d): %s (request %s)", p.Error, p.Status, p.Detail, p.RequestID)
}

// maxProblem is how much of a refusal is read.
const maxProblem = 1 << 20

// ErrorOf is nil for an answer of 2xx, and what was refused or failed for every other one: a *ProblemError. It takes
// what the …WithResponse methods return, HTTPResponse and Body.
func ErrorOf(response *http.Response, body []byte) error {
	if response.StatusCode >= 200 && response.StatusCode <= 299 {
		return nil
	}
	told := &ProblemError{}
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")) // an unknown one is as good as another
	if kind == "application/problem+json" && json.Unmarshal(body, &told.Problem) == nil && told.Problem.Error != "" {
		return told
	}
	told.Problem = Problem{
		Status:    response.StatusCode,
		Title:     http.StatusText(response.StatusCode),
		Detail:    strings.ToValidUTF8(string(body[:min(len(body), 200)]), ""),
		RequestID: response.Header.Get("X-Request-Id"),
		Retryable: mayPass(response.StatusCode),
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		told.Problem.RetryAfter = &seconds
	}
	return told
}

// mayPass tells the statuses of which a later try may be spared: something on the way is away, or restarts.
func mayPass(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}

// refusalOf reads a refusal to its end.
func refusalOf(response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProblem))
	if err != nil {
		return fmt.Errorf("read the answer with status %d: %w", response.StatusCode, err)
	}
	return ErrorOf(response, body)
}

// retryTime is when the server wants to be asked again.
func (e *ProblemError) retryTime() time.Duration {
	if e.Problem.RetryAfter == nil {
		return 0
	}
	return time.Duration(*e.Problem.RetryAfter) * time.Second
}
