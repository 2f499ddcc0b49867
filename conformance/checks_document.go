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
		forAnyKey("document/served", "The OpenAPI document is served as YAML and as JSON with equal contents.", checkDocument),
		forAnyKey("document/page", "The reference page is served with all its assets.", checkReferencePage),
		forAnyKey("document/problems", "Every problem code is described at its URL.", checkProblemPages),
		forAnyKey("service/ready", "The service reports that it is live and ready.", checkReadiness),
	}
}

func checkDocument(t *checker) {
	asJSON := t.anonymous().get("/openapi.json")
	document := asJSON.json(http.StatusOK)
	t.require(strings.HasPrefix(document.str("openapi"), "3.0."), "the document has OpenAPI version %q, want 3.0", document.str("openapi"))
	asYAML := t.anonymous().get("/openapi.yaml")
	asYAML.expectStatus(http.StatusOK)
	converted, err := yaml.YAMLToJSON(asYAML.body)
	t.require(err == nil, "the document is not valid YAML: %v", err)
	var fromYAML, fromJSON any
	t.require(json.Unmarshal(converted, &fromYAML) == nil && json.Unmarshal(asJSON.body, &fromJSON) == nil, "the document is not valid JSON")
	t.require(reflect.DeepEqual(fromYAML, fromJSON), "the YAML and JSON documents differ")
	for _, served := range []response{asJSON, asYAML} {
		if tag := served.header.Get("ETag"); tag != "" {
			again := t.anonymous().get(strings.TrimPrefix(served.request, "GET "), header("If-None-Match", tag))
			t.require(again.status == http.StatusNotModified, "%s with its ETag in If-None-Match: status %d, want 304", served.request, again.status)
		}
	}
}

var assets = regexp.MustCompile(`(?:src|href)="([^"#]+)"`)

func checkReferencePage(t *checker) {
	page := t.anonymous().get("/docs")
	page.expectStatus(http.StatusOK)
	t.require(strings.HasPrefix(page.header.Get("Content-Type"), "text/html"), "the page has the type %q, want text/html", page.header.Get("Content-Type"))
	for _, asset := range assets.FindAllStringSubmatch(string(page.body), -1) {
		t.require(strings.HasPrefix(asset[1], "/"), "the page loads %s from another host", asset[1])
		got := t.anonymous().get(asset[1])
		t.require(got.status == http.StatusOK && len(got.body) > 0, "%s, which the page loads: status %d, %d bytes", asset[1], got.status, len(got.body))
	}
}

func checkProblemPages(t *checker) {
	if t.validator.document == nil || t.validator.document.Components.Schemas["ProblemCode"] == nil {
		t.fatalf("the document has no schema ProblemCode")
	}
	for _, code := range t.validator.document.Components.Schemas["ProblemCode"].Value.Enum {
		got := t.anonymous().getJSON(fmt.Sprintf("/problems/%v", code))
		t.require(got["code"] == code && got.num("status") >= 400 && got.str("description") != "", "the description of %v is %v", code, got)
	}
	t.anonymous().get("/problems/nothing").expectProblem("not_found")
}

func checkReadiness(t *checker) {
	for _, path := range []string{"/healthz", "/readyz"} {
		t.require(t.anonymous().getJSON(path).str("status") == "ok", "%s does not report status ok", path)
	}
}
