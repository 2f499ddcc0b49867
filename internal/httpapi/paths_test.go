package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// An invalid id is 404, like an unknown one.
func TestInvalidPathIDsAreNotFound(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	for _, op := range operations {
		for _, parameter := range op.in("path") {
			id := resources[kindOf(op.path, parameter.Name)]
			bare := strings.ReplaceAll(id, "-", "")
			for _, bad := range []string{
				"x", strings.Repeat("g", 36), strings.Repeat("-", 36), id + "0", id[1:], bare, "{" + id + "}", "urn:uuid:" + id, " " + id,
				id + " ", strings.Replace(id, "-", "_", 1), "00000000-0000-0000-0000-000000000000", "%00", "a\x00b", "\xff\xfe", "..", "字", "🙂",
				"a/b", `"'; DROP TABLE runs; --`, strings.Repeat("x", 5000),
			} {
				if bad == bare && kindOf(op.path, parameter.Name) == "problems" {
					continue
				}
				ids := maps.Clone(resources)
				ids[kindOf(op.path, parameter.Name)] = bad
				if err := op.send(admin, op.target(ids, ""), op.validBody(resources)).checkProblem(404, "not_found", ""); err != nil {
					t.Errorf("%s {%s} = %.60q: %v", op.id, parameter.Name, bad, err)
				}
			}
		}
	}
}

// A UUID is the same in upper case.
func TestPathIDsAreCaseInsensitive(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	var resources resourceIDs
	for _, op := range operations {
		for _, at := range op.idPlaces() {
			if resources == nil {
				resources = admin.createResources()
			}
			path, body := at.put(resources, strings.ToUpper(resources[at.kind]))
			if got := op.send(admin, path, body); got.status >= 300 {
				t.Errorf("%s, %s: %d %s", op.id, at.name, got.status, got.body)
			}
			if op.deletes() {
				resources = nil
			}
		}
	}
}

// A method that a path does not take is 405 with those that it does, in either spelling of the path.
func TestUnsupportedMethodsAnswer405WithAllow(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	allowed := map[string][]string{}
	for _, op := range operations {
		path := strings.TrimSuffix(op.pathOf(resources), "/")
		allowed[path] = append(allowed[path], op.method)
	}
	for path, methods := range allowed {
		slices.Sort(methods)
		methods = slices.Compact(methods)
		if at, hasGet := slices.BinarySearch(methods, "GET"); hasGet {
			methods = slices.Insert(methods, at+1, "HEAD")
		}
		if slices.Contains(methods, "PATCH") && !slices.Contains(methods, "PUT") {
			methods = append(methods, "PUT")
		}
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PURGE"} {
			if slices.Contains(methods, method) {
				continue
			}
			for _, spelling := range []string{path, path + "/"} {
				got := admin.call(method, spelling, nil)
				if err := got.checkProblem(405, "method_not_allowed", ""); err != nil {
					t.Error(err)
				}
				if allow := got.header.Get("Allow"); allow != strings.Join(methods, ", ") {
					t.Errorf("%s %s: Allow is %q, want %q", method, spelling, allow, methods)
				}
			}
		}
	}
}

// An unknown path is answered with a problem document.
func TestUnknownPathsAreNotFound(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	id := admin.startConversation()
	for _, path := range []string{
		"/", "/nothing", "/api", "/api/", "/api/nothing/", "/api/v2/me/", "/api/conversations/" + id + "/nothing", "/api/conversations//", "//api/me/",
		"/api/conversations/" + id + "//messages", "/api/messages/" + id + "/x/", "/API/me/", "/api/me/..", "/api/%6de%2f", "/problems", "/problems/",
		"/openapi.yml", "/v1/",
	} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
			if err := admin.call(method, path, nil).checkProblem(404, "not_found", ""); err != nil {
				t.Error(err)
			}
		}
	}
}
