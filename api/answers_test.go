package api_test

import (
	"net/http"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

// bodiless are the POSTs without a body, which no repeat can change.
var bodiless = []string{"cancelRun"}

// secret are those whose answers show a secret, and are not kept for repeats.
var secret = []string{"createApiKey", "createClientToken", "createWsTicket"}

func answerRules() []rule {
	return []rule{
		{
			name: "failures are problem documents, below /v1 OpenAI's errors, and any other failure is the default",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					if o.Responses.Default() == nil {
						complain(o.String(), "has no default")
					}
					for status, response := range o.Responses.Map() {
						if status == "default" || status[0] == '4' || status[0] == '5' {
							checkFailure(o, status, response.Value, complain)
						}
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"no default": func(doc *openapi3.T) { find(doc, "getMe").Responses.Delete("default") },
				"no content": func(doc *openapi3.T) { doc.Components.Responses["NotFound"].Value.Content = nil },
				"plain JSON": func(doc *openapi3.T) {
					r := doc.Components.Responses["Problem"].Value
					r.Content = openapi3.Content{"application/json": r.Content[problemJSON]}
				},
				"a problem document below /v1": func(doc *openapi3.T) {
					find(doc, "getModel").Responses.Set("404", doc.Components.Responses["NotFound"])
				},
				"OpenAI's error elsewhere": func(doc *openapi3.T) {
					find(doc, "getChatbot").Responses.Set("404", doc.Components.Responses["OpenAINotFound"])
				},
				"another schema": func(doc *openapi3.T) {
					doc.Components.Responses["Forbidden"].Value.Content[problemJSON].Schema = openapi3.NewObjectSchema().NewRef()
				},
			},
		},
		{
			name: "an operation that reads a query, a header or a body may answer 400",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					isRead := func(p *openapi3.Parameter) bool { return p.In != openapi3.ParameterInPath }
					if o.RequestBody != nil || slices.ContainsFunc(o.parameters, isRead) {
						o.needs("400", "what it reads may be malformed", complain)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"of a query":  func(doc *openapi3.T) { find(doc, "listChatbots").Responses.Delete("400") },
				"of a header": func(doc *openapi3.T) { find(doc, "cancelRun").Responses.Delete("400") },
				"of a body":   func(doc *openapi3.T) { find(doc, "updateFaq").Responses.Delete("400") },
			},
		},
		{
			name: "a secured operation may answer 401, and 429 to who guesses keys",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					if o.secured(doc) {
						o.needs("401", "it is secured", complain)
						o.needs("429", "it is secured", complain)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"no 401": func(doc *openapi3.T) { find(doc, "getMe").Responses.Delete("401") },
				"no 429": func(doc *openapi3.T) { find(doc, "getMe").Responses.Delete("429") },
			},
		},
		{
			name: "every answer carries the request's id",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					for status, response := range o.Responses.Map() {
						if header := response.Value.Headers["X-Request-Id"]; header == nil || !header.Value.Required {
							complain(o.String()+", "+status, "does not promise X-Request-Id")
						}
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"none":      func(doc *openapi3.T) { delete(find(doc, "getMe").Responses.Value("200").Value.Headers, "X-Request-Id") },
				"a failure": func(doc *openapi3.T) { doc.Components.Responses["NotFound"].Value.Headers = nil },
				"optional":  func(doc *openapi3.T) { doc.Components.Headers["XRequestId"].Value.Required = false },
			},
		},
		{
			name: "an operation of a rate class says on each answer what is left of it, but to who is not known",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					if o.Extensions["x-rate-limit"] == nil {
						continue
					}
					for status, response := range o.Responses.Map() {
						for _, name := range []string{"RateLimit", "RateLimit-Policy"} {
							if status != "401" && response.Value.Headers[name] == nil {
								complain(o.String()+", "+status, "does not have %s", name)
							}
						}
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) {
					delete(find(doc, "getHistory").Responses.Value("200").Value.Headers, "RateLimit")
				},
				"a failure": func(doc *openapi3.T) { delete(doc.Components.Responses["NotFound"].Value.Headers, "RateLimit-Policy") },
			},
		},
		{
			name: "an operation that needs a scope may answer 403",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					if scopes, _ := o.scopes(); len(scopes) > 0 {
						o.needs("403", "it needs a scope", complain)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { find(doc, "getChatbot").Responses.Delete("403") },
			},
		},
		{
			name: "an operation with a path parameter may answer 404",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					if len(o.pathParameters()) > 0 {
						o.needs("404", "it has a path parameter", complain)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { find(doc, "getChatbot").Responses.Delete("404") },
			},
		},
		{
			name: "an operation with a JSON body may answer 400, 413 and 415",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					if o.jsonBody() == nil {
						continue
					}
					for _, status := range []string{"400", "413", "415"} {
						o.needs(status, "it has a JSON body", complain)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"no 400": func(doc *openapi3.T) { find(doc, "sendMessage").Responses.Delete("400") },
				"no 413": func(doc *openapi3.T) { find(doc, "sendMessage").Responses.Delete("413") },
				"no 415": func(doc *openapi3.T) { find(doc, "sendMessage").Responses.Delete("415") },
			},
		},
		{
			name: "a POST takes an Idempotency-Key, says when it answers again, and may answer 422",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					if o.method != http.MethodPost {
						continue
					}
					if !slices.ContainsFunc(o.parameters, func(p *openapi3.Parameter) bool { return p.Name == "Idempotency-Key" }) {
						complain(o.String(), "takes no Idempotency-Key")
					}
					if !slices.Contains(bodiless, o.OperationID) {
						o.needs("422", "it takes an Idempotency-Key", complain)
					}
					if slices.Contains(secret, o.OperationID) {
						o.needs("409", "its answer is not kept", complain)
						continue
					}
					for status, response := range o.Responses.Map() {
						if status[0] == '2' && response.Value.Headers["Idempotency-Replayed"] == nil {
							complain(o.String(), "%s does not say Idempotency-Replayed", status)
						}
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"no key":            func(doc *openapi3.T) { find(doc, "createFaq").Parameters = nil },
				"no 422":            func(doc *openapi3.T) { find(doc, "createFaq").Responses.Delete("422") },
				"no 409":            func(doc *openapi3.T) { find(doc, "createApiKey").Responses.Delete("409") },
				"silent of repeats": func(doc *openapi3.T) { find(doc, "createFaq").Responses.Value("201").Value.Headers = nil },
			},
		},
		{
			name: "an operation answers a 2xx or switches protocols",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					found := false
					for status := range o.Responses.Map() {
						found = found || strings.HasPrefix(status, "2") || status == "101"
					}
					if !found {
						complain(o.String(), "has no answer but failures")
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"none": func(doc *openapi3.T) { find(doc, "getMe").Responses.Delete("200") },
			},
		},
	}
}

func (o operation) needs(status, because string, complain complain) {
	if o.Responses.Value(status) == nil {
		complain(o.String(), "has no %s though %s", status, because)
	}
}

// checkFailure holds a failure's answer against the form that its family has: only /v1 speaks OpenAI's error shape.
func checkFailure(o operation, status string, response *openapi3.Response, complain complain) {
	kind, schema := problemJSON, "Problem"
	if strings.HasPrefix(o.path, "/v1/") {
		kind, schema = "application/json", "OpenAIError"
	}
	media := response.Content[kind]
	switch {
	case len(response.Content) != 1 || media == nil:
		complain(o.String()+", "+status, "is not %s alone", kind)
	case media.Schema == nil || component(media.Schema) != schema:
		complain(o.String()+", "+status, "has another schema than %s", schema)
	}
}
