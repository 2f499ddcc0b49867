// Package fault is the ways in which a request can fail: a kind that callers
// program against, a sentence that they may read, and a private cause that they
// never see. Any error that is not a fault is internal.
package fault

import (
	"errors"
	"time"
)

// Kind is the code of a failure, as the contract names it.
type Kind string

// The kinds of failure. The first five are the reference documents' codes.
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

// Item is one mistake in a request: where it is and what is wrong there.
type Item struct {
	In        string // body, query, path or header
	Pointer   string // a JSON Pointer, for In == "body"
	Parameter string // the parameter's name, for the others
	Detail    string
}

// Error is a failure that the caller may hear of.
type Error struct {
	Kind       Kind
	Message    string // a full sentence for the caller
	Items      []Item
	RetryAfter time.Duration // when to try again; zero: unknown
	Err        error         `json:"-"` // the private cause, for the log alone
}

// New makes a fault of a kind with a sentence for the caller.
func New(kind Kind, message string) *Error {
	return &Error{Kind: kind, Message: message}
}

// Wrap makes a fault with a private cause.
func Wrap(kind Kind, message string, err error) *Error {
	return &Error{Kind: kind, Message: message, Err: err}
}

// Field makes the fault of one mistake in the request's body.
func Field(kind Kind, pointer, detail string) *Error {
	return &Error{
		Kind:    kind,
		Message: "The request is not valid: " + pointer + " " + detail + ".",
		Items:   []Item{{In: "body", Pointer: pointer, Detail: detail}},
	}
}

// Parameter makes the fault of one mistake in a query parameter.
func Parameter(name, detail string) *Error {
	return &Error{
		Kind:    InvalidRequest,
		Message: "The request is not valid: " + name + " " + detail + ".",
		Items:   []Item{{In: "query", Parameter: name, Detail: detail}},
	}
}

// Error tells the kind, the sentence and the cause; it is for logs.
func (e *Error) Error() string {
	text := string(e.Kind) + ": " + e.Message
	if e.Err != nil {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns the private cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of an error: Internal for one that is no fault.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// Is tells whether err is a fault of that kind.
func Is(err error, kind Kind) bool {
	return err != nil && KindOf(err) == kind
}

// Say gives a fault of that kind the sentence of its caller, who knows better
// what was being looked for; every other error, and nil, is returned as it is.
func Say(err error, kind Kind, message string) error {
	if !Is(err, kind) {
		return err
	}
	return Wrap(kind, message, err)
}
