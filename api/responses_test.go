package api_test

import (
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// withoutBody lists the POST operations without a body. A repeat cannot have another body.
var withoutBody = []string{"cancelRun"}

// withSecret lists the operations whose response contains a secret and is not stored for repeats.
var withSecret = []string{"createApiKey", "createClientToken", "createWsTicket"}

func responseRules() []rule {
	return []rule{
		{
			name: "errors are problem documents, or OpenAI's errors below /v1, with a default",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					if o.Responses.Default() == nil {
						report(o.String(), "has no default")
					}
					for status, response := range o.Responses.Map() {
						if status == "default" || status[0] == '4' || status[0] == '5' {
							checkError(o, status, response.Value, report)
						}
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"no default": func(doc *openapi3.T) { find(doc, "getMe").Responses.Delete("default") },
				"no content": func(doc *openapi3.T) { doc.Components.Responses["NotFound"].Value.Content = nil },
				"plain JSON": func(doc *openapi3.T) {
					r := doc.Components.Responses["Problem"].Value
					r.Content = openapi3.Content{"application/json": r.Content[problemJSON]}
				},
				"a problem document below /v1": func(doc *openapi3.T) {
					find(doc, "getModel").Responses.Set("404", doc.Components.Responses["NotFound"])
				},
				"OpenAI's error outside /v1": func(doc *openapi3.T) {
					find(doc, "getChatbot").Responses.Set("404", doc.Components.Responses["OpenAINotFound"])
				},
				"another schema": func(doc *openapi3.T) {
					doc.Components.Responses["Forbidden"].Value.Content[problemJSON].Schema = openapi3.NewObjectSchema().NewRef()
				},
			},
		},
		{
			name: "operations with a query, a header or a body have 400",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					isInput := func(p *openapi3.Parameter) bool { return p.In != openapi3.ParameterInPath }
					if o.RequestBody != nil || slices.ContainsFunc(o.parameters, isInput) {
						o.requireStatus("400", "it has input", report)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"with a query":  func(doc *openapi3.T) { find(doc, "listChatbots").Responses.Delete("400") },
				"with a header": func(doc *openapi3.T) { find(doc, "cancelRun").Responses.Delete("400") },
				"with a body":   func(doc *openapi3.T) { find(doc, "updateFaq").Responses.Delete("400") },
			},
		},
		{
			name: "secured operations have 401 and 429",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					if o.isSecured(doc) {
						o.requireStatus("401", "it is secured", report)
						o.requireStatus("429", "it is secured", report)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"no 401": func(doc *openapi3.T) { find(doc, "getMe").Responses.Delete("401") },
				"no 429": func(doc *openapi3.T) { find(doc, "getMe").Responses.Delete("429") },
			},
		},
		{
			name: "responses have X-Request-Id",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					for status, response := range o.Responses.Map() {
						if header := response.Value.Headers["X-Request-Id"]; header == nil || !header.Value.Required {
							report(o.String()+", "+status, "has no required X-Request-Id")
						}
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"missing":  func(doc *openapi3.T) { delete(find(doc, "getMe").Responses.Value("200").Value.Headers, "X-Request-Id") },
				"an error": func(doc *openapi3.T) { doc.Components.Responses["NotFound"].Value.Headers = nil },
				"optional": func(doc *openapi3.T) { doc.Components.Headers["XRequestId"].Value.Required = false },
			},
		},
		{
			name: "responses of rate-limited operations have the rate limit headers, except 401",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					if o.Extensions["x-rate-limit"] == nil {
						continue
					}
					for status, response := range o.Responses.Map() {
						for _, name := range []string{"RateLimit", "RateLimit-Policy"} {
							if status != "401" && response.Value.Headers[name] == nil {
								report(o.String()+", "+status, "has no %s", name)
							}
						}
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"missing": func(doc *openapi3.T) {
					delete(find(doc, "getHistory").Responses.Value("200").Value.Headers, "RateLimit")
				},
				"an error": func(doc *openapi3.T) { delete(doc.Components.Responses["NotFound"].Value.Headers, "RateLimit-Policy") },
			},
		},
		{
			name: "operations with scopes have 403",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					if scopes, _ := o.scopes(); len(scopes) > 0 {
						o.requireStatus("403", "it requires a scope", report)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { find(doc, "getChatbot").Responses.Delete("403") },
			},
		},
		{
			name: "operations with a path parameter have 404",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					if len(o.pathParameters()) > 0 {
						o.requireStatus("404", "it has a path parameter", report)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { find(doc, "getChatbot").Responses.Delete("404") },
			},
		},
		{
			name: "operations with a JSON body have 400, 413 and 415",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					if o.jsonBody() == nil {
						continue
					}
					for _, status := range []string{"400", "413", "415"} {
						o.requireStatus(status, "it has a JSON body", report)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"no 400": func(doc *openapi3.T) { find(doc, "sendMessage").Responses.Delete("400") },
				"no 413": func(doc *openapi3.T) { find(doc, "sendMessage").Responses.Delete("413") },
				"no 415": func(doc *openapi3.T) { find(doc, "sendMessage").Responses.Delete("415") },
			},
		},
		{
			name: "POST operations have Idempotency-Key, Idempotency-Replayed and 422, unless they never store anything",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					if o.method != http.MethodPost || o.OperationID == "createResponse" {
						continue
					}
					if !slices.ContainsFunc(o.parameters, func(p *openapi3.Parameter) bool { return p.Name == "Idempotency-Key" }) {
						report(o.String(), "has no parameter Idempotency-Key")
					}
					if !slices.Contains(withoutBody, o.OperationID) {
						o.requireStatus("422", "it has an Idempotency-Key", report)
					}
					if slices.Contains(withSecret, o.OperationID) {
						o.requireStatus("409", "its response is not stored", report)
						continue
					}
					for status, response := range o.Responses.Map() {
						if status[0] == '2' && response.Value.Headers["Idempotency-Replayed"] == nil {
							report(o.String(), "%s has no header Idempotency-Replayed", status)
						}
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"no key":    func(doc *openapi3.T) { find(doc, "createFaq").Parameters = nil },
				"no 422":    func(doc *openapi3.T) { find(doc, "createFaq").Responses.Delete("422") },
				"no 409":    func(doc *openapi3.T) { find(doc, "createApiKey").Responses.Delete("409") },
				"no header": func(doc *openapi3.T) { find(doc, "createFaq").Responses.Value("201").Value.Headers = nil },
			},
		},
		{
			name: "operations have a 2xx or 101",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					found := false
					for status := range o.Responses.Map() {
						found = found || strings.HasPrefix(status, "2") || status == "101"
					}
					if !found {
						report(o.String(), "has no success response")
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { find(doc, "getMe").Responses.Delete("200") },
			},
		},
	}
}

// requireStatus reports a missing response.
func (o operation) requireStatus(status, because string, report reportFunc) {
	if o.Responses.Value(status) == nil {
		report(o.String(), "has no %s although %s", status, because)
	}
}

// checkError checks that an error response is a problem document, or an OpenAIError below /v1.
func checkError(o operation, status string, response *openapi3.Response, report reportFunc) {
	kind, schema := problemJSON, "Problem"
	if strings.HasPrefix(o.path, "/v1/") {
		kind, schema = "application/json", "OpenAIError"
	}
	media := response.Content[kind]
	switch {
	case len(response.Content) != 1 || media == nil:
		report(o.String()+", "+status, "must have the content type %s only", kind)
	case media.Schema == nil || component(media.Schema) != schema:
		report(o.String()+", "+status, "must have the schema %s", schema)
	}
}
