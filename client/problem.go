package client

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ProblemError is a request that the server refused, or that failed.
type ProblemError struct {
	// Problem is the problem document. If the answer had none, for example because a proxy wrote
	// it, Problem holds the status and the beginning of the body, and its Error is empty.
	Problem Problem
}

// Error returns the problem in one line, with the id of the request.
func (e *ProblemError) Error() string {
	p := e.Problem
	if p.Error == "" {
		return fmt.Sprintf("status %d without a problem document: %s", p.Status, p.Detail)
	}
	return fmt.Sprintf("%s (%d): %s (request %s)", p.Error, p.Status, p.Detail, p.RequestID)
}

// retryAfter returns how long the server asks the client to wait, or 0 if it does not ask.
func (e *ProblemError) retryAfter() time.Duration {
	if e.Problem.RetryAfter == nil {
		return 0
	}
	return time.Duration(*e.Problem.RetryAfter) * time.Second
}

// maxProblemBytes limits how much of a refused request's answer is read.
const maxProblemBytes = 1 << 20

// ErrorOf returns nil if the status is 2xx, and a *ProblemError otherwise. Its parameters are the HTTPResponse and
// the Body of the result of a …WithResponse method.
func ErrorOf(response *http.Response, body []byte) error {
	if response.StatusCode >= 200 && response.StatusCode <= 299 {
		return nil
	}
	problem := &ProblemError{}
	mediaType, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type")) // an invalid one is another one
	if mediaType == "application/problem+json" && json.Unmarshal(body, &problem.Problem) == nil && problem.Problem.Error != "" {
		return problem
	}
	problem.Problem = Problem{
		Status:    response.StatusCode,
		Title:     http.StatusText(response.StatusCode),
		Detail:    strings.ToValidUTF8(string(body[:min(len(body), 200)]), ""),
		RequestID: response.Header.Get("X-Request-Id"),
		Retryable: isTransient(response.StatusCode),
	}
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		problem.Problem.RetryAfter = &seconds
	}
	return problem
}

// readProblem reads the answer to a refused request. It does not close the body.
func readProblem(response *http.Response) error {
	body, err := io.ReadAll(io.LimitReader(response.Body, maxProblemBytes))
	if err != nil {
		return fmt.Errorf("read the body of status %d: %w", response.StatusCode, err)
	}
	return ErrorOf(response, body)
}

// isTransient reports whether the status means that a server or a proxy is unavailable for now.
func isTransient(status int) bool {
	return status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout
}
