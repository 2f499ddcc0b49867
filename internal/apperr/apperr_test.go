package apperr_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"parley/internal/apperr"
)

func TestWrappedErrorKeepsItsKind(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("begin: %w", fmt.Errorf("insert: %w", apperr.New(apperr.Conflict, "It is taken.")))
	if kind := apperr.KindOf(err); kind != apperr.Conflict {
		t.Errorf("kind %s", kind)
	}
	if !apperr.Is(err, apperr.Conflict) || apperr.Is(err, apperr.NotFound) {
		t.Error("Is does not distinguish the kinds")
	}
}

func TestOtherErrorsAreInternal(t *testing.T) {
	t.Parallel()
	if kind := apperr.KindOf(io.EOF); kind != apperr.Internal {
		t.Errorf("kind %s", kind)
	}
	if !apperr.Is(io.EOF, apperr.Internal) {
		t.Error("io.EOF is not internal")
	}
}

func TestNilIsNoError(t *testing.T) {
	t.Parallel()
	if apperr.Is(nil, apperr.Internal) {
		t.Error("nil is internal")
	}
	if err := apperr.Rephrase(nil, apperr.Internal, "It is broken."); err != nil {
		t.Errorf("nil became %v", err)
	}
}

func TestCauseIsInTheLogOnly(t *testing.T) {
	t.Parallel()
	err := apperr.Wrap(apperr.NotFound, "It does not exist.", io.EOF)
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is lost")
	}
	if got, want := err.Error(), "not_found: It does not exist.: EOF"; got != want {
		t.Errorf("logged %q, want %q", got, want)
	}
	if err.Message != "It does not exist." {
		t.Errorf("the caller reads %q", err.Message)
	}
	if got, want := apperr.New(apperr.NotFound, "It does not exist.").Error(), "not_found: It does not exist."; got != want {
		t.Errorf("logged without a cause %q, want %q", got, want)
	}
}

func TestRephraseReplacesTheMessageOfItsKind(t *testing.T) {
	t.Parallel()
	before := apperr.Wrap(apperr.NotFound, "It does not exist.", io.EOF)
	after := apperr.Rephrase(before, apperr.NotFound, "There is no such chatbot.")
	e, ok := errors.AsType[*apperr.Error](after)
	if !ok || e.Kind != apperr.NotFound || e.Message != "There is no such chatbot." {
		t.Errorf("got %v", after)
	}
	if !errors.Is(after, io.EOF) {
		t.Error("the cause is lost")
	}
	if other := apperr.Rephrase(before, apperr.Conflict, "It is taken."); !errors.Is(other, before) || other.Error() != before.Error() {
		t.Errorf("another kind became %v", other)
	}
	if other := apperr.Rephrase(io.EOF, apperr.NotFound, "It does not exist."); !errors.Is(other, io.EOF) || apperr.KindOf(other) != apperr.Internal {
		t.Errorf("an internal error became %v", other)
	}
}

func TestFieldAndParameterHaveOneViolation(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		err       *apperr.Error
		kind      apperr.Kind
		message   string
		violation apperr.Violation
	}{
		"in the body": {
			apperr.Field(apperr.InvalidMessage, "/content", "must not be blank"),
			apperr.InvalidMessage, "The request is not valid: /content must not be blank.",
			apperr.Violation{In: "body", Pointer: "/content", Detail: "must not be blank"},
		},
		"in the query": {
			apperr.Parameter("limit", "must be at most 100"),
			apperr.InvalidRequest, "The request is not valid: limit must be at most 100.",
			apperr.Violation{In: "query", Parameter: "limit", Detail: "must be at most 100"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.err.Kind != c.kind || c.err.Message != c.message {
				t.Errorf("got %v", c.err)
			}
			if want := []apperr.Violation{c.violation}; !reflect.DeepEqual(c.err.Violations, want) {
				t.Errorf("violations %+v, want %+v", c.err.Violations, want)
			}
		})
	}
}
