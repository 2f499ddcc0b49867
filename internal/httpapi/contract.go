package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/labstack/echo/v4"

	"parley/api"
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/jsontext"
	"parley/internal/metrics"
	"parley/internal/ratelimit"
)

const (
	maxJSON   = 1 << 20
	maxUpload = 32 << 20
	// maxExplained is the longest body of which all mistakes are told; of a longer one,
	// which could hold hundreds of thousands, the first.
	maxExplained = 64 << 10
)

// contract enforces the document, operation by operation, before a handler runs:
// authenticate, scope, size, media type, schema. What it needs to know of an
// operation is read from the document once.
type contract struct {
	auth       *auth.Auth
	limiter    *ratelimit.Limiter
	document   *openapi3.T
	operations []*operation
}

type operation struct {
	id            string
	isPublic      bool // takes no key
	isOpen        bool // takes a key or none
	rateClass     string
	rateField     string            // the class counts only requests whose body has this field; none: all
	aliases       map[string]string // deprecated spellings of the body's keys
	scopes        []auth.Scope      // one of these is needed; none: any key will do
	clientTokens  []string          // what client tokens that it takes are for
	takesQuery    bool              // has parameters in the query
	takesTicket   bool              // has a query parameter for one
	audit         string            // what it leaves in the audit trail; empty: nothing
	messageFields []string          // pointers; a mistake in or under them is invalid_message
	isJSON        bool              // takes a JSON body
	isUpload      bool              // takes a multipart body
	counted       *metrics.Operation
	route         *routers.Route
}

// metric is where the operation's requests are counted; nil for none.
func (op *operation) metric() *metrics.Operation {
	if op == nil {
		return nil
	}
	return op.counted
}

// enforced is the document as servers enforce it, one for all of a process: reading it takes longer than starting the
// rest of a server, and nobody changes it.
var enforced = sync.OnceValues(func() (*openapi3.T, error) {
	document, err := api.Load()
	if err != nil {
		return nil, err
	}
	for _, item := range document.Paths.Map() {
		for _, op := range item.Operations() {
			if op.RequestBody != nil && op.RequestBody.Value.Content["application/json"] != nil {
				permitNull(op.RequestBody.Value.Content["application/json"].Schema.Value)
			}
		}
	}
	return document, nil
})

func newContract(auth *auth.Auth, limiter *ratelimit.Limiter) (*contract, error) {
	document, err := enforced()
	if err != nil {
		return nil, err
	}
	c := &contract{auth: auth, limiter: limiter, document: document}
	for path, item := range document.Paths.Map() {
		for method, op := range item.Operations() {
			made, err := c.operation(method, path, item, op)
			if err != nil {
				return nil, fmt.Errorf("%s %s: %w", method, path, err)
			}
			c.operations = append(c.operations, made)
		}
	}
	return c, nil
}

func (c *contract) operation(method, path string, item *openapi3.PathItem, op *openapi3.Operation) (*operation, error) {
	// The validator would read the whole body, however long, before it asks who is
	// asking, which is known by then.
	validated := *op
	validated.Security = openapi3.NewSecurityRequirements()
	made := &operation{
		id:       op.OperationID,
		isPublic: op.Security != nil && len(*op.Security) == 0,
		route:    &routers.Route{Spec: c.document, Path: path, PathItem: item, Method: method, Operation: &validated},
	}
	if err := extension(op, "x-scopes", &made.scopes); err != nil {
		return nil, err
	}
	if err := extension(op, "x-client-tokens", &made.clientTokens); err != nil {
		return nil, err
	}
	for _, parameter := range slices.Concat(item.Parameters, op.Parameters) {
		made.takesQuery = made.takesQuery || parameter.Value.In == "query"
	}
	made.takesTicket = op.Parameters.GetByInAndName("query", "ticket") != nil
	if err := extension(op, "x-message-fields", &made.messageFields); err != nil {
		return nil, err
	}
	if err := extension(op, "x-audit", &made.audit); err != nil {
		return nil, err
	}
	if err := extension(op, "x-rate-limit", &made.rateClass); err != nil {
		return nil, err
	}
	if err := extension(op, "x-rate-limit-field", &made.rateField); err != nil {
		return nil, err
	}
	if op.RequestBody != nil {
		content := op.RequestBody.Value.Content
		made.isJSON = content["application/json"] != nil
		made.isUpload = content["multipart/form-data"] != nil
		if made.isJSON {
			made.aliases = make(map[string]string)
			collectAliases(content["application/json"].Schema.Value, made.aliases)
			made.messageFields = append(made.messageFields, aliasesOf(made.messageFields, made.aliases)...)
		}
	}
	made.isOpen = op.Security != nil && slices.ContainsFunc(*op.Security, func(one openapi3.SecurityRequirement) bool { return len(one) == 0 })
	return made, nil
}

// permitNull lets null pass where the document has x-takes-null: OpenAPI takes it for a
// value of a schema without a type, the validator does not.
func permitNull(schema *openapi3.Schema) {
	if schema.Extensions["x-takes-null"] == true {
		schema.Nullable = true
	}
	for _, property := range schema.Properties {
		permitNull(property.Value)
	}
	if schema.Items != nil {
		permitNull(schema.Items.Value)
	}
}

// extension reads an x- field of an operation; absent, into is left as it is.
func extension(op *openapi3.Operation, name string, into any) error {
	raw, err := json.Marshal(op.Extensions[name])
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// middlewares returns the contract of each operation, by operationId.
func (c *contract) middlewares() map[string][]echo.MiddlewareFunc {
	all := make(map[string][]echo.MiddlewareFunc, len(c.operations))
	for _, op := range c.operations {
		all[op.id] = []echo.MiddlewareFunc{func(next echo.HandlerFunc) echo.HandlerFunc {
			return func(ec echo.Context) error {
				ec.Set(operationKey, op)
				if err := c.enforce(ec, op); err != nil {
					return err
				}
				return next(ec)
			}
		}}
	}
	return all
}

// counted has requests that no contract needs counted as an operation's.
func (c *contract) counted(id string) echo.MiddlewareFunc {
	at := slices.IndexFunc(c.operations, func(op *operation) bool { return op.id == id })
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(ec echo.Context) error {
			ec.Set(operationKey, c.operations[at])
			return next(ec)
		}
	}
}

// call is what handlers want to know of the request beyond its typed form.
type call struct {
	url      *url.URL    // absolute, as the caller wrote it
	scope    string      // method and path, which scope an Idempotency-Key
	bodyHash []byte      // SHA-256 of the JSON body's bytes, of none for other requests
	id       string      // the request's id, as the answer carries it
	header   http.Header // of the answer
}

type callKey struct{}

// callOf returns what the contract middleware noted of the request.
func callOf(ctx context.Context) call {
	noted, _ := ctx.Value(callKey{}).(call)
	return noted
}

var hashOfNothing = sha256.Sum256(nil)

// enforce refuses a request that does not keep the contract; what it lets through
// carries the principal and the call in its context.
func (c *contract) enforce(ec echo.Context, op *operation) error {
	r := ec.Request()
	ctx := r.Context()
	who, err := c.authenticate(ec, op)
	if err != nil {
		return err
	}
	ctx = auth.WithPrincipal(ctx, who)
	if op.audit != "" {
		ctx = audit.WithActor(ctx, audit.Actor{UserID: who.UserID, KeyID: who.KeyID, RequestID: requestID(ec), Address: addressOf(r)})
	}
	if !op.isPublic {
		ec.Response().Header().Set("Cache-Control", "no-store")
	}
	noted := call{url: absoluteURL(ec), scope: r.Method + " " + r.URL.Path, id: requestID(ec), header: ec.Response().Header(), bodyHash: hashOfNothing[:]}
	if err := c.limit(ec, op, who, op.rateField == ""); err != nil {
		return err
	}
	if err := op.checkQuery(r.URL); err != nil {
		return err
	}
	var body []byte
	switch {
	case op.isJSON:
		if body, err = readJSON(r); err != nil {
			return err
		}
		hash := sha256.Sum256(body)
		noted.bodyHash = hash[:]
		if body, err = jsontext.Clean(body); err != nil {
			return op.asMessageFault(err)
		}
		body = op.withoutAliases(body)
		if op.rateField != "" && hasField(body, op.rateField) {
			if err := c.limit(ec, op, who, true); err != nil {
				return err
			}
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
	case op.isUpload:
		if err := checkMediaType(r, "multipart/form-data"); err != nil {
			return err
		}
		if r.ContentLength > maxUpload {
			return tooLarge("The upload may have 32 MiB.")
		}
		r.Body = http.MaxBytesReader(ec.Response(), r.Body, maxUpload)
	}
	r = r.WithContext(context.WithValue(ctx, callKey{}, noted))
	if err := op.validate(r, ec, body); err != nil {
		return err
	}
	ec.SetRequest(r)
	return nil
}

// validate holds the request against the operation's schemas. Uploads are checked
// as they are read: validating them here would hold them in memory.
func (op *operation) validate(r *http.Request, ec echo.Context, body []byte) error {
	params := make(map[string]string, len(ec.ParamNames()))
	for _, name := range ec.ParamNames() {
		params[name] = ec.Param(name)
	}
	input := &openapi3filter.RequestValidationInput{
		Request:    r,
		PathParams: params,
		Route:      op.route,
		Options: &openapi3filter.Options{
			ExcludeRequestBody: !op.isJSON,
			// The handler gets what was validated, not a second reading of the
			// bytes in which "Content" would stand for "content".
			KeepValidatedValue: true,
		},
	}
	err := openapi3filter.ValidateRequest(r.Context(), input)
	if err != nil && len(body) <= maxExplained {
		// The first mistake was enough to refuse it; now all are told.
		input.Options.MultiError = true
		r.Body = io.NopCloser(bytes.NewReader(body))
		err = openapi3filter.ValidateRequest(r.Context(), input)
	}
	if err != nil {
		return op.invalid(err)
	}
	return nil
}

// checkQuery refuses text that PostgreSQL cannot hold, and parameters that say
// nothing, which the validator takes for absent. Where an operation reads nothing of
// the query, there is nothing to refuse.
func (op *operation) checkQuery(address *url.URL) error {
	if !op.takesQuery {
		return nil
	}
	query, err := url.ParseQuery(address.RawQuery)
	if err != nil {
		return apperr.Wrap(apperr.InvalidRequest, "The query is not encoded as it should be.", err)
	}
	for _, name := range slices.Sorted(maps.Keys(query)) { // the same mistake is told each time
		values := query[name]
		if len(values) > 1 && op.route.Operation.Parameters.GetByInAndName("query", name) != nil {
			return apperr.Parameter(name, "must be given once")
		}
		for _, value := range values {
			if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
				return apperr.Parameter(strings.ToValidUTF8(name, "\uFFFD"), "must be UTF-8 without NUL")
			}
			if value == "" && op.route.Operation.Parameters.GetByInAndName("query", name) != nil {
				return apperr.Parameter(name, "must not be empty")
			}
		}
	}
	return nil
}

func checkMediaType(r *http.Request, wanted string) error {
	found, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || found != wanted {
		return apperr.New(apperr.UnsupportedMediaType, "The body must be of the content type "+wanted+".")
	}
	if strings.HasPrefix(wanted, "multipart/") && parameters["boundary"] == "" {
		return apperr.New(apperr.InvalidRequest, "The content type names no boundary.")
	}
	return nil
}

func tooLarge(message string) error { return apperr.New(apperr.TooLarge, message) }

// absoluteURL is the address that the caller used, as far as the server can know.
func absoluteURL(ec echo.Context) *url.URL {
	address := *ec.Request().URL
	address.Scheme, address.Host = ec.Scheme(), ec.Request().Host
	return &address
}
