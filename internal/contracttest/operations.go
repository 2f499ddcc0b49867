package contracttest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// operation is an operation of the document.
type operation struct {
	*openapi3.Operation
	method   string
	hasSlash bool     // the path ends in a slash
	segments []string // of the path; segments in braces are parameters
	literals int      // the number of segments that are not parameters
}

// readOperations returns all operations, those with the most literal segments first.
func readOperations() []operation {
	var all []operation
	for path, item := range document.Paths.Map() {
		for method, op := range item.Operations() {
			found := operation{Operation: op, method: method, hasSlash: strings.HasSuffix(path, "/"), segments: segments(path)}
			for _, segment := range found.segments {
				if !strings.HasPrefix(segment, "{") {
					found.literals++
				}
			}
			all = append(all, found)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return b.literals - a.literals })
	return all
}

func segments(path string) []string { return strings.Split(strings.TrimSuffix(path, "/"), "/") }

// findOperation returns the operation of a request, whose path can be an alias. Literal segments take precedence over
// parameters, whatever the methods. Of two paths that differ by a final slash, the exact one takes precedence.
func findOperation(method, path string) (found operation, ok bool) {
	if found, ok = findExact(method, path); ok || method != http.MethodPut {
		return found, ok
	}
	return findExact(http.MethodPatch, path) // PUT is served like PATCH
}

func findExact(method, path string) (found operation, ok bool) {
	if rest, isVersioned := strings.CutPrefix(path, "/api/v1/"); isVersioned {
		path = "/api/" + rest
	} else if strings.HasPrefix(path, "/conversations") {
		path = "/api" + path
	}
	if strings.TrimSuffix(path, "/") == "/api/users/current" {
		path = "/api/me/"
	}
	if method == http.MethodPatch {
		path = strings.TrimSuffix(strings.TrimSuffix(path, "/"), "/update-auto-reply") + "/"
	}
	if strings.TrimSuffix(path, "/") == "/api/chat/completions" {
		path = "/v1/chat/completions"
	}
	if model, isModel := strings.CutPrefix(path, "/v1/models/"); isModel {
		path = "/v1/models/" + strings.ReplaceAll(strings.TrimSuffix(model, "/"), "/", "%2F")
	}
	requested, hasSlash, literals := segments(path), strings.HasSuffix(path, "/"), 0
	for _, op := range operations {
		if op.literals < literals || !op.matches(requested) {
			continue
		}
		literals = op.literals
		if op.method == method && (!ok || op.hasSlash == hasSlash) {
			found, ok = op, true
		}
	}
	return found, ok
}

func (op operation) matches(requested []string) bool {
	if len(requested) != len(op.segments) {
		return false
	}
	for i, segment := range op.segments {
		if segment != requested[i] && (!strings.HasPrefix(segment, "{") || requested[i] == "") {
			return false
		}
	}
	return true
}
