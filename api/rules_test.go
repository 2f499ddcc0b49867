package api_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"parley/api"
)

// reportFunc reports a violation of a rule and its place in the document.
type reportFunc func(where, format string, args ...any)

// rule is a rule that the document must follow, so that generated SDKs compile and the server
// enforces the whole contract. Each rule has mutations of the document that violate it, which prove
// that the rule detects them.
type rule struct {
	name      string
	check     func(doc *openapi3.T, report reportFunc)
	mutations map[string]func(doc *openapi3.T)
}

func rules() []rule {
	return slices.Concat(operationRules(), responseRules(), scopeRules(), nameRules(), schemaRules(), exampleRules(), auditRules())
}

func TestDocumentFollowsRules(t *testing.T) {
	t.Parallel()
	doc := load(t)
	for _, r := range rules() {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			for _, violation := range r.violations(doc) {
				t.Error(violation)
			}
		})
	}
}

func TestRulesDetectMutations(t *testing.T) {
	t.Parallel()
	written, err := api.JSON() // parsed from JSON, which is faster than YAML, and once per subtest, because each changes its copy
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules() {
		if len(r.mutations) == 0 {
			t.Errorf("the rule %q has no mutations", r.name)
		}
		for name, mutate := range r.mutations {
			t.Run(r.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				doc, err := openapi3.NewLoader().LoadFromData(written)
				if err != nil {
					t.Fatal(err)
				}
				before := r.violations(doc)
				mutate(doc)
				if len(r.violations(doc)) <= len(before) {
					t.Error("the rule does not detect the mutation")
				}
			})
		}
	}
}

func (r rule) violations(doc *openapi3.T) []string {
	var found []string
	r.check(doc, func(where, format string, args ...any) {
		found = append(found, where+": "+fmt.Sprintf(format, args...))
	})
	return found
}
