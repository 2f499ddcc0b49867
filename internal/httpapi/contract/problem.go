package contract

import (
	"parley/gen/openapi"
	"parley/internal/apperr"
)

// Kind is how errors of one apperr.Kind are reported.
type Kind struct {
	Status      int
	Title       string
	Description string
	IsRetryable bool
}

// Kinds maps each kind of error to its status, and to what GET /problems/{code} says about it.
var Kinds = map[apperr.Kind]Kind{
	apperr.InvalidMessage:       {400, "Invalid message", "A field of the message itself is invalid; errors lists every violation.", false},
	apperr.InvalidRequest:       {400, "Invalid request", "The body or a parameter is invalid; errors lists every violation.", false},
	apperr.Unauthorized:         {401, "Unauthorized", "The API key, client token or ticket is missing, unknown, used, revoked or expired.", false},
	apperr.Forbidden:            {403, "Forbidden", "The API key lacks a scope, the conversation belongs to another user, or the client token is not valid for this.", false},
	apperr.NotFound:             {404, "Not found", "The resource does not exist, or not in this organization.", false},
	apperr.MethodNotAllowed:     {405, "Method not allowed", "The path exists but does not support the method; Allow lists the methods that it supports.", false},
	apperr.Conflict:             {409, "Conflict", "The request conflicts with the current state of the resource; detail says why.", false},
	apperr.TooLarge:             {413, "Too large", "The body, the upload or the message exceeds its limit.", false},
	apperr.UnsupportedMediaType: {415, "Unsupported media type", "The operation does not accept the Content-Type of the body.", false},
	apperr.Unprocessable:        {422, "Unprocessable", "The Idempotency-Key was already used with a different body.", false},
	apperr.RateLimited:          {429, "Rate limited", "Too many requests; retry after Retry-After seconds.", true},
	apperr.Internal:             {500, "Internal error", "An internal error occurred; request_id identifies it in the server's log.", true},
	apperr.UpstreamFailed:       {502, "Upstream failed", "The model behind the chatbot failed.", true},
	apperr.Unavailable:          {503, "Unavailable", "The service is temporarily unable to do this; retry after Retry-After seconds.", true},
	apperr.Timeout:              {504, "Timeout", "The response took too long.", true},
}

// ProblemOf returns the problem document (RFC 9457) of an error.
func ProblemOf(appErr *apperr.Error, requestID string) openapi.Problem {
	kind := Kinds[appErr.Kind]
	problem := openapi.Problem{
		Type:      "/problems/" + string(appErr.Kind),
		Title:     kind.Title,
		Status:    kind.Status,
		Detail:    appErr.Message,
		Error:     openapi.ProblemCode(appErr.Kind),
		RequestID: requestID,
		Retryable: !appErr.Permanent && (kind.IsRetryable || appErr.RetryAfter > 0),
	}
	if len(appErr.Violations) > 0 {
		items := make([]openapi.ProblemItem, len(appErr.Violations))
		for i, violation := range appErr.Violations {
			items[i] = openapi.ProblemItem{In: openapi.RequestPart(violation.In), Detail: violation.Detail}
			if violation.In == "body" {
				items[i].Pointer = &violation.Pointer
			} else if violation.Parameter != "" {
				items[i].Parameter = &violation.Parameter
			}
		}
		problem.Errors = &items
	}
	if appErr.RetryAfter > 0 {
		problem.RetryAfter = new(Seconds(appErr.RetryAfter))
	}
	return problem
}
