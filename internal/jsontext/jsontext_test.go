package jsontext_test

import (
	"errors"
	"strings"
	"testing"

	"parley/internal/apperr"
	"parley/internal/jsontext"
)

func TestCleanPointsToTheFirstNUL(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`"\u0000"`: "", `["a","\u0000"]`: "/1", `{"a":1,"b":"x\u0000"}`: "/b", `{"\u0000":1}`: "/\uFFFD", `{"a":{"\u0000":1}}`: "/a/\uFFFD",
		`{"a":[[],{},[1,{"b":[true,null,{"c~/d":"\u0000"}]}]]}`: "/a/2/1/b/2/c~0~1d", `{"x":{"y":[1]},"z":["\u0000"]}`: "/z/0", `{"a":"b","c":"\u0000","d":"\u0000"}`: "/c",
	} {
		_, err := jsontext.Clean([]byte(body))
		found, ok := errors.AsType[*apperr.Error](err)
		if !ok || len(found.Violations) != 1 || found.Violations[0].Pointer != want {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// Values are counted at every depth: keys are not values, and an empty container is one value.
func TestCleanCountsValues(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		start, item, end string
		around, perItem  int // values
	}{
		{`[`, `0,`, `0]`, 2, 1},
		{`[`, `"a,[{",`, `0]`, 2, 1},
		{`[`, `{}, [ ] ,`, `0]`, 2, 2},
		{`{"a":[`, `{"k":0},`, `0]}`, 3, 2},
		{`[`, `[[[0]]],`, `0]`, 2, 4},
	} {
		items := (jsontext.MaxValues - test.around) / test.perItem
		if _, err := jsontext.Clean([]byte(test.start + strings.Repeat(test.item, items) + test.end)); err != nil {
			t.Errorf("%s: %v", test.item, err)
		}
		if _, err := jsontext.Clean([]byte(test.start + strings.Repeat(test.item, items+1) + test.end)); !apperr.Is(err, apperr.TooLarge) {
			t.Errorf("%s, with one more: %v", test.item, err)
		}
	}
}
