// Package apperr defines the errors that callers may read. An Error has a kind
// that programs match, a message for people and a private cause for the log.
// Every other error is internal.
package apperr

import (
	"errors"
	"time"
)

// Kind is the code of an error. Its text is the "error" member of a problem document.
type Kind string

// The kinds of errors. The first five are the codes of the reference documents.
const (
	InvalidMessage       Kind = "invalid_message"
	Unauthorized         Kind = "unauthorized"
	Forbidden            Kind = "forbidden"
	NotFound             Kind = "not_found"
	RateLimited          Kind = "rate_limited"
	InvalidRequest       Kind = "invalid_request"
	MethodNotAllowed     Kind = "method_not_allowed"
	Conflict             Kind = "conflict"
	TooLarge             Kind = "too_large"
	UnsupportedMediaType Kind = "unsupported_media_type"
	Unprocessable        Kind = "unprocessable"
	Internal             Kind = "internal"
	UpstreamFailed       Kind = "upstream_failed"
	Unavailable          Kind = "unavailable"
	Timeout              Kind = "timeout"
)

// Violation is one invalid part of a request: where it is and what is wrong with it.
type Violation struct {
	In        string // body, query, path or header
	Pointer   string // a JSON Pointer, for In == "body"
	Parameter string // the parameter's name, for the others
	Detail    string
}

// Error is an error that is reported to the caller.
type Error struct {
	Kind       Kind
	Message    string // a full sentence for the caller
	Code       string // more specific than Kind, for OpenAI's error format; empty: Kind is enough
	Violations []Violation
	RetryAfter time.Duration // how long to wait before retrying; zero: unknown
	Permanent  bool          // a retry cannot succeed, although it can for other errors of this kind
	Err        error         `json:"-"` // the private cause, which is only logged
}

// New returns an error with a message for the caller.
func New(kind Kind, message string) *Error {
	return &Error{Kind: kind, Message: message}
}

// Wrap returns an error with a message for the caller and a private cause.
func Wrap(kind Kind, message string, err error) *Error {
	return &Error{Kind: kind, Message: message, Err: err}
}

// WrapInternal returns the error that callers receive for an internal error.
func WrapInternal(err error) *Error {
	return Wrap(Internal, "An internal error occurred. The server has logged it.", err)
}

// Field returns an error with one violation in the request body.
func Field(kind Kind, pointer, detail string) *Error {
	return &Error{
		Kind:       kind,
		Message:    "The request is not valid: " + pointer + " " + detail + ".",
		Violations: []Violation{{In: "body", Pointer: pointer, Detail: detail}},
	}
}

// Parameter returns an InvalidRequest error with one violation in a query parameter.
func Parameter(name, detail string) *Error {
	return &Error{
		Kind:       InvalidRequest,
		Message:    "The request is not valid: " + name + " " + detail + ".",
		Violations: []Violation{{In: "query", Parameter: name, Detail: detail}},
	}
}

// Header returns an InvalidRequest error with one violation in a header.
func Header(name, detail string) *Error {
	return &Error{
		Kind:       InvalidRequest,
		Message:    "The request is not valid: " + name + " " + detail + ".",
		Violations: []Violation{{In: "header", Parameter: name, Detail: detail}},
	}
}

// Error returns the kind, the message and the cause. It is meant for logs.
func (e *Error) Error() string {
	text := string(e.Kind) + ": " + e.Message
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of err, or Internal if err does not wrap an Error.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Is reports whether err wraps an Error of that kind.
func Is(err error, kind Kind) bool {
	return err != nil && KindOf(err) == kind
}

// Rephrase replaces the message of an error of that kind, because the caller of a function often knows better which
// resource is missing. Other errors, and nil, are returned unchanged.
func Rephrase(err error, kind Kind, message string) error {
	if !Is(err, kind) {
		return err
	}
	return Wrap(kind, message, err)
}
