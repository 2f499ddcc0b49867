package httpapi

import (
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/internal/apperr"
)

// aliases lets a path reach its operation in other spellings (contract, section 1):
// with or without the trailing slash, where the method exists on one spelling only;
// below /api/v1; and /conversations without /api. The request is rewritten before
// it is routed, so that all that follows sees one operation, and never redirected,
// which would lose a POST's body.
type aliases struct {
	root *segment
}

// segment is a node of the tree of all paths, the trailing slash aside.
type segment struct {
	literals map[string]*segment
	variable *segment
	// methods are those of the path that ends here, in each of its two spellings.
	plain, slashed map[string]bool
}

func newAliases(operations []*operation) *aliases {
	a := &aliases{root: &segment{}}
	for _, op := range operations {
		path := op.route.Path
		at := a.root
		for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
			at = at.child(part)
		}
		methods := &at.plain
		if strings.HasSuffix(path, "/") {
			methods = &at.slashed
		}
		if *methods == nil {
			*methods = make(map[string]bool)
		}
		(*methods)[op.route.Method] = true
	}
	return a
}

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

// find returns where the parts lead; a literal wins over a variable.
func (s *segment) find(parts []string) *segment {
	if len(parts) == 0 {
		if s.plain == nil && s.slashed == nil {
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

// rewrite is the middleware; it comes before the router.
func (a *aliases) rewrite(next echo.HandlerFunc) echo.HandlerFunc {
	return func(ec echo.Context) error {
		r := ec.Request()
		path := underAPI(r.URL.EscapedPath())
		if strings.Contains(path, "//") {
			return apperr.New(apperr.NotFound, "There is nothing at this path.") // no id is empty
		}
		bare, isSlashed := strings.CutSuffix(path, "/")
		found := a.root.find(strings.Split(strings.TrimPrefix(bare, "/"), "/"))
		if found == nil {
			return next(ec)
		}
		if r.Method == http.MethodOptions {
			ec.Response().Header().Set("Allow", found.allow()+", OPTIONS")
			return ec.NoContent(http.StatusNoContent)
		}
		switch isPlain := found.plain[r.Method]; {
		case isSlashed && found.slashed[r.Method], !isSlashed && isPlain:
		case isPlain:
			path = bare
		case found.slashed[r.Method]:
			path = bare + "/"
		default:
			ec.Response().Header().Set("Allow", found.allow())
			return apperr.New(apperr.MethodNotAllowed, "This path does not take "+r.Method+".")
		}
		setPath(r, path)
		return next(ec)
	}
}

// underAPI spells a path the way the document does, as far as its beginning goes.
func underAPI(path string) string {
	if rest, ok := strings.CutPrefix(path, "/api/v1/"); ok {
		return "/api/" + rest
	}
	if path == "/conversations" || strings.HasPrefix(path, "/conversations/") {
		return "/api" + path
	}
	return path
}

// allow lists the methods of both spellings.
func (s *segment) allow() string {
	union := maps.Clone(s.plain)
	if union == nil {
		union = make(map[string]bool)
	}
	maps.Copy(union, s.slashed)
	return strings.Join(slices.Sorted(maps.Keys(union)), ", ")
}

// setPath gives a request another path, which is escaped. The request itself is
// changed: Echo routes the one that it was given, not the context's.
func setPath(r *http.Request, path string) {
	plain, err := url.PathUnescape(path)
	if err != nil || path == r.URL.EscapedPath() {
		return // it came from a valid address, so it is one
	}
	address := *r.URL
	address.Path, address.RawPath = plain, path
	r.URL = &address
}
