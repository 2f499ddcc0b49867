package contract

import (
	"encoding/json"
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"

	"parley/internal/auth"
	"parley/internal/metrics"
	"parley/internal/shape"
)

// operation is an operation of the document, with its extensions decoded.
type operation struct {
	id            string
	route         *routers.Route
	isPublic      bool         // takes no credentials
	isKeyOptional bool         // accepts anonymous requests too
	acceptsTicket bool         // has the query parameter `ticket`
	scopes        []auth.Scope // the principal needs one of these; empty: any principal
	clientTokens  []string     // purposes of the client tokens that it accepts
	rateClass     string       // empty: unlimited
	rateField     string       // only requests whose body has this field count; empty: all
	audit         string       // the action that it leaves in the audit trail; empty: none
	query         query
	bodySchema    *openapi3.Schema // of application/json; nil if it takes none
	bodyShape     *shape.Shape     // the same, compiled
	unsupported   map[string]string
	bodyLimit     int64    // bytes of application/json
	hasUpload     bool     // takes multipart/form-data
	messageFields []string // pointers; a violation in or below them is invalid_message
	metric        *metrics.Operation
}

func newOperation(document *openapi3.T, method, path string, item *openapi3.PathItem, op *openapi3.Operation) (*operation, error) {
	// The validator would read the whole body before it checks security. Authentication has
	// happened by then.
	validated := *op
	validated.Security = openapi3.NewSecurityRequirements()
	o := &operation{
		id:            op.OperationID,
		isPublic:      op.Security != nil && len(*op.Security) == 0,
		isKeyOptional: op.Security != nil && slices.ContainsFunc(*op.Security, func(r openapi3.SecurityRequirement) bool { return len(r) == 0 }),
		acceptsTicket: op.Parameters.GetByInAndName("query", "ticket") != nil,
		route:         &routers.Route{Spec: document, Path: path, PathItem: item, Method: method, Operation: &validated},
		query:         newQuery(method, path, slices.Concat(item.Parameters, op.Parameters)),
		bodySchema:    shape.OfBody(op),
		bodyLimit:     maxJSON,
	}
	for name, field := range map[string]any{
		"x-scopes":           &o.scopes,
		"x-client-tokens":    &o.clientTokens,
		"x-message-fields":   &o.messageFields,
		"x-audit":            &o.audit,
		"x-rate-limit":       &o.rateClass,
		"x-rate-limit-field": &o.rateField,
		"x-body-limit":       &o.bodyLimit,
	} {
		if err := readExtension(op, name, field); err != nil {
			return nil, err
		}
	}
	if op.RequestBody != nil {
		o.hasUpload = op.RequestBody.Value.Content["multipart/form-data"] != nil
	}
	if o.bodySchema != nil {
		o.bodyShape = shape.Compile(o.bodySchema)
		o.unsupported = readUnsupported(o.bodySchema)
	}
	return o, nil
}

// readExtension decodes an x- field of an operation. If the field is missing, into is unchanged.
func readExtension(op *openapi3.Operation, name string, into any) error {
	raw, err := json.Marshal(op.Extensions[name])
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, into)
}

// metricOf returns the metric of an operation, or nil if op is nil.
func metricOf(op *operation) *metrics.Operation {
	if op == nil {
		return nil
	}
	return op.metric
}
