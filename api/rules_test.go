package api_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/api"
)

// complain tells where in the document a rule is broken, and how.
type complain func(where, format string, args ...any)

// rule is one of the rules that keep generated SDKs compiling and the server's
// enforcement complete. Each has ways to break it, to prove that it would notice.
type rule struct {
	name   string
	check  func(doc *openapi3.T, complain complain)
	breaks map[string]func(doc *openapi3.T)
}

func rules() []rule {
	return slices.Concat(operationRules(), answerRules(), scopeRules(), nameRules(), schemaRules(), exampleRules(), auditRules())
}

func TestTheDocumentKeepsTheRules(t *testing.T) {
	t.Parallel()
	doc := load(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, complaint := range r.complaints(doc) {
				t.Error(complaint)
			}
		})
	}
}

func TestEachRuleNoticesWhatBreaksIt(t *testing.T) {
	t.Parallel()
	written, err := api.JSON() // read faster than YAML, and read for each test, which changes it
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules() {
		if len(r.breaks) == 0 {
			t.Errorf("%q is not proved", r.name)
		}
		for how, spoil := range r.breaks {
			t.Run(r.name+"/"+how, func(t *testing.T) {
				t.Parallel()
				doc, err := openapi3.NewLoader().LoadFromData(written)
				if err != nil {
					t.Fatal(err)
				}
				before := r.complaints(doc)
				spoil(doc)
				if len(r.complaints(doc)) <= len(before) {
					t.Error("the rule notices nothing")
				}
			})
		}
	}
}

func (r rule) complaints(doc *openapi3.T) []string {
	var found []string
	r.check(doc, func(where, format string, args ...any) {
		found = append(found, where+": "+fmt.Sprintf(format, args...))
	})
	return found
}
