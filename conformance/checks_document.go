package conformance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"

	"github.com/oasdiff/yaml"
)

func documentChecks() []check {
	return []check{
		{name: "document/served", holds: "The document is served as YAML and as JSON, and both say the same.", ask: documentIsServed},
		{name: "document/page", holds: "The reference page is served, with all that it loads.", ask: pageIsServed},
		{name: "document/problems", holds: "Every code of a problem is explained at its address.", ask: problemsAreExplained},
		{name: "service/ready", holds: "The service says that it lives and can serve.", ask: serviceIsReady},
	}
}

func documentIsServed(t *trial) {
	asJSON := t.nobody().get("/openapi.json")
	document := asJSON.gives(http.StatusOK)
	t.must(strings.HasPrefix(document.str("openapi"), "3.0."), "the document is of the version %q", document.str("openapi"))
	asYAML := t.nobody().get("/openapi.yaml")
	asYAML.has(http.StatusOK)
	converted, err := yaml.YAMLToJSON(asYAML.body)
	t.must(err == nil, "the document in YAML cannot be read: %v", err)
	var fromYAML, fromJSON any
	t.must(json.Unmarshal(converted, &fromYAML) == nil && json.Unmarshal(asJSON.body, &fromJSON) == nil, "the document is no JSON")
	t.must(reflect.DeepEqual(fromYAML, fromJSON), "the documents in YAML and in JSON differ")
	for _, one := range []answer{asJSON, asYAML} {
		if tag := one.header.Get("ETag"); tag != "" {
			again := t.nobody().get(strings.TrimPrefix(one.asked, "GET "), header("If-None-Match", tag))
			t.must(again.status == http.StatusNotModified, "%s with its own ETag in If-None-Match: %d, not 304", one.asked, again.status)
		}
	}
}

var assets = regexp.MustCompile(`(?:src|href)="([^"#]+)"`)

func pageIsServed(t *trial) {
	page := t.nobody().get("/docs")
	page.has(http.StatusOK)
	t.must(strings.HasPrefix(page.header.Get("Content-Type"), "text/html"), "the page is of the type %q", page.header.Get("Content-Type"))
	for _, asset := range assets.FindAllStringSubmatch(string(page.body), -1) {
		t.must(strings.HasPrefix(asset[1], "/"), "the page loads %s", asset[1])
		got := t.nobody().get(asset[1])
		t.must(got.status == http.StatusOK && len(got.body) > 0, "the page loads %s, which is answered with %d and %d bytes", asset[1], got.status, len(got.body))
	}
}

func problemsAreExplained(t *trial) {
	if t.seen.document == nil || t.seen.document.Components.Schemas["ProblemCode"] == nil {
		t.fail("the document does not say which problems there are")
	}
	for _, code := range t.seen.document.Components.Schemas["ProblemCode"].Value.Enum {
		got := t.nobody().get(fmt.Sprintf("/problems/%v", code)).gives(http.StatusOK)
		t.must(got["code"] == code && got.num("status") >= 400 && got.str("description") != "", "the explanation of %v is %v", code, got)
	}
	t.nobody().get("/problems/nothing").refused(http.StatusNotFound, "not_found")
}

func serviceIsReady(t *trial) {
	for _, path := range []string{"/healthz", "/readyz"} {
		t.must(t.nobody().get(path).gives(http.StatusOK).str("status") == "ok", "%s does not say that it is ok", path)
	}
}
