package fault_test

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"parley/internal/fault"
)

func TestAWrappedFaultKeepsItsKind(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("begin: %w", fmt.Errorf("insert: %w", fault.New(fault.Conflict, "It is taken.")))
	if kind := fault.KindOf(err); kind != fault.Conflict {
		t.Errorf("the kind is %s", kind)
	}
	if !fault.Is(err, fault.Conflict) || fault.Is(err, fault.NotFound) {
		t.Error("Is does not tell the kinds apart")
	}
}

func TestAnyOtherErrorIsInternal(t *testing.T) {
	t.Parallel()
	if kind := fault.KindOf(io.EOF); kind != fault.Internal {
		t.Errorf("the kind is %s", kind)
	}
	if !fault.Is(io.EOF, fault.Internal) {
		t.Error("it is not internal")
	}
}

func TestNoErrorIsNoFault(t *testing.T) {
	t.Parallel()
	if fault.Is(nil, fault.Internal) {
		t.Error("nil is internal")
	}
	if err := fault.Say(nil, fault.Internal, "It is broken."); err != nil {
		t.Errorf("nil became %v", err)
	}
}

func TestTheCauseIsForTheLogOnly(t *testing.T) {
	t.Parallel()
	err := fault.Wrap(fault.NotFound, "It does not exist.", io.EOF)
	if !errors.Is(err, io.EOF) {
		t.Error("the cause is lost")
	}
	if got, want := err.Error(), "not_found: It does not exist.: EOF"; got != want {
		t.Errorf("the log says %q, not %q", got, want)
	}
	if err.Message != "It does not exist." {
		t.Errorf("the caller reads %q", err.Message)
	}
	if got, want := fault.New(fault.NotFound, "It does not exist.").Error(), "not_found: It does not exist."; got != want {
		t.Errorf("without a cause the log says %q, not %q", got, want)
	}
}

func TestSayGivesThatKindABetterSentence(t *testing.T) {
	t.Parallel()
	before := fault.Wrap(fault.NotFound, "It does not exist.", io.EOF)
	after := fault.Say(before, fault.NotFound, "There is no such chatbot.")
	e, ok := errors.AsType[*fault.Error](after)
	if !ok || e.Kind != fault.NotFound || e.Message != "There is no such chatbot." {
		t.Errorf("it says %v", after)
	}
	if !errors.Is(after, io.EOF) {
		t.Error("the cause is lost")
	}
	if other := fault.Say(before, fault.Conflict, "It is taken."); !errors.Is(other, before) || other.Error() != before.Error() {
		t.Errorf("another kind became %v", other)
	}
	if other := fault.Say(io.EOF, fault.NotFound, "It does not exist."); !errors.Is(other, io.EOF) || fault.KindOf(other) != fault.Internal {
		t.Errorf("an internal error became %v", other)
	}
}

func TestOneMistakeIsAnItem(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		err     *fault.Error
		kind    fault.Kind
		message string
		item    fault.Item
	}{
		"in the body": {
			fault.Field(fault.InvalidMessage, "/content", "must not be blank"),
			fault.InvalidMessage, "The request is not valid: /content must not be blank.",
			fault.Item{In: "body", Pointer: "/content", Detail: "must not be blank"},
		},
		"in the query": {
			fault.Parameter("limit", "must be at most 100"),
			fault.InvalidRequest, "The request is not valid: limit must be at most 100.",
			fault.Item{In: "query", Parameter: "limit", Detail: "must be at most 100"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.err.Kind != c.kind || c.err.Message != c.message {
				t.Errorf("it is %v", c.err)
			}
			if want := []fault.Item{c.item}; !reflect.DeepEqual(c.err.Items, want) {
				t.Errorf("the items are %+v, not %+v", c.err.Items, want)
			}
		})
	}
}
