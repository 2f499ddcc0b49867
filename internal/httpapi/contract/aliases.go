package contract

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/internal/apperr"
)

// aliases resolves the alternative paths of operations: with or without the trailing slash, below
// /api/v1, and /conversations without /api. PUT is an alias of PATCH. The request is rewritten before routing, so that every
// later step sees the path of the document. It is never redirected, which would lose a POST body.
//
// Echo routes cannot replace it: a literal segment must win over a variable even where its methods
// do not match, and Allow must list the methods of both spellings.
type aliases struct {
	root *segment
}

// segment is a node of the tree of all paths. Both spellings of a path end in the same node.
type segment struct {
	literals map[string]*segment
	variable *segment
	methods  map[string]spelling // of the path that ends here; nil if none does
}

// spelling is a set of the spellings of a path.
type spelling uint8

const (
	plain   spelling = 1 << iota // without a trailing slash
	slashed                      // with a trailing slash
)

func newAliases(operations []*operation) *aliases {
	a := &aliases{root: &segment{}}
	for _, op := range operations {
		node := a.root
		for part := range strings.SplitSeq(strings.Trim(op.route.Path, "/"), "/") {
			node = node.child(part)
		}
		if node.methods == nil {
			node.methods = make(map[string]spelling)
		}
		if strings.HasSuffix(op.route.Path, "/") {
			node.methods[op.route.Method] |= slashed
		} else {
			node.methods[op.route.Method] |= plain
		}
	}
	return a
}

// child returns the child for a segment of a path template. It is added if it is new.
func (s *segment) child(part string) *segment {
	if strings.HasPrefix(part, "{") {
		if s.variable == nil {
			s.variable = &segment{}
		}
		return s.variable
	}
	if s.literals == nil {
		s.literals = make(map[string]*segment)
	}
	if s.literals[part] == nil {
		s.literals[part] = &segment{}
	}
	return s.literals[part]
}

// find returns the node of a path, or nil. Literals win over variables.
func (s *segment) find(parts []string) *segment {
	if len(parts) == 0 {
		if s.methods == nil {
			return nil
		}
		return s
	}
	if literal := s.literals[parts[0]]; literal != nil {
		if found := literal.find(parts[1:]); found != nil {
			return found
		}
	}
	if s.variable != nil && parts[0] != "" {
		return s.variable.find(parts[1:])
	}
	return nil
}

// allow lists the methods of both spellings, HEAD beside GET, and PUT beside PATCH.
func (s *segment) allow() string {
	methods := slices.Sorted(maps.Keys(s.methods))
	if s.methods[http.MethodPatch] != 0 && s.methods[http.MethodPut] == 0 {
		methods = append(methods, http.MethodPut)
	}
	if at, hasGet := slices.BinarySearch(methods, http.MethodGet); hasGet {
		methods = slices.Insert(methods, at+1, http.MethodHead)
	}
	return strings.Join(methods, ", ")
}

// rewrite is the middleware. It must run before routing.
func (a *aliases) rewrite(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		r := ec.Request()
		path := vendorPath(r.Method, canonicalPrefix(r.URL.EscapedPath()))
		if strings.HasPrefix(r.URL.Path, versionedPrefix) {
			ec.Set(aliasKey, strings.TrimSuffix(versionedPrefix, "/"))
		}
		if strings.Contains(path, "//") {
			return apperr.New(apperr.NotFound, noSuchPath) // IDs are never empty
		}
		withoutSlash := strings.TrimSuffix(path, "/")
		found := a.root.find(strings.Split(strings.TrimPrefix(withoutSlash, "/"), "/"))
		if found == nil {
			return next(ec)
		}
		if r.Method == http.MethodOptions {
			ec.Response().Header().Set("Allow", found.allow()+", OPTIONS")
			return ec.NoContent(http.StatusNoContent)
		}
		if r.Method == http.MethodPut && found.methods[http.MethodPut] == 0 && found.methods[http.MethodPatch] != 0 {
			r.Method = http.MethodPatch
		}
		switch found.methods[r.Method] {
		case 0:
			ec.Response().Header().Set("Allow", found.allow())
			return apperr.New(apperr.MethodNotAllowed, noSuchMethod(r))
		case plain:
			path = withoutSlash
		case slashed:
			path = withoutSlash + "/"
		}
		setPath(r, path) // a method of both spellings keeps the one that was sent
		return next(ec)
	}
}

// versionedPrefix is an alias of /api/.
const versionedPrefix = "/api/v1/"

// aliasKey is the key of the prefix in Echo's context that the caller used instead of /api. Links to
// other pages keep it.
const aliasKey = "alias prefix"

// canonicalPrefix maps /api/v1 and /conversations to the prefixes of the document.
func canonicalPrefix(path string) string {
	if alias := openAIAlias(path); alias != "" {
		return alias
	}
	if rest, ok := strings.CutPrefix(path, versionedPrefix); ok {
		return "/api/" + rest
	}
	if path == "/conversations" || strings.HasPrefix(path, "/conversations/") {
		return "/api" + path
	}
	return escapeModel(path)
}

// vendorPath maps paths of MaiAgent to operations that have the same request and response.
func vendorPath(method, path string) string {
	withoutSlash := strings.TrimSuffix(path, "/")
	if withoutSlash == "/api/users/current" && (method == http.MethodGet || method == http.MethodHead) {
		return "/api/me/"
	}
	conversation, isUpdate := strings.CutSuffix(withoutSlash, "/update-auto-reply")
	if isUpdate && strings.HasPrefix(conversation, "/api/conversations/") && (method == http.MethodPatch || method == http.MethodPut) {
		return conversation + "/"
	}
	return path
}

// setPath changes the path of a request. It changes the request in place, because Echo routes the
// request that it was given and not the one of the context. The path is escaped.
func setPath(r *http.Request, path string) {
	unescaped, err := url.PathUnescape(path)
	if err != nil || path == r.URL.EscapedPath() {
		return // err is nil: the path comes from a parsed URL
	}
	address := *r.URL
	address.Path, address.RawPath = unescaped, path
	r.URL = &address
}
