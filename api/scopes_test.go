package api_test

import (
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

var (
	// requiresScope matches the sentence with the scopes of an operation.
	requiresScope = regexp.MustCompile("(?s)Requires the scope ((?:`[^`]+`(?:,|\\s|or)*)+)\\.")
	// anyScope matches every mention of scopes.
	anyScope = regexp.MustCompile("(?s)\\bscopes?:?\\s+((?:`[^`]+`(?:,|\\s|or\\b|and\\b)*)+)")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

func scopeRules() []rule {
	return []rule{
		{
			name: "secured operations have known x-scopes",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					scopes, present := o.scopes()
					if present != o.isSecured(doc) {
						report(o.String(), "x-scopes present: %t, secured: %t", present, o.isSecured(doc))
					}
					if list, ok := o.Extensions["x-scopes"].([]any); present && (!ok || len(list) != len(scopes)) {
						report(o.String(), "x-scopes is not a list of strings")
					}
					checkKnown(doc, o.String(), scopes, report)
				}
			},
			mutations: map[string]func(*openapi3.T){
				"none":        func(doc *openapi3.T) { delete(find(doc, "getMe").Extensions, "x-scopes") },
				"not secured": func(doc *openapi3.T) { setScopes(doc, "getHealth", "chat") },
				"unknown":     func(doc *openapi3.T) { setScopes(doc, "getMe", "everything") },
				"not a list":  func(doc *openapi3.T) { find(doc, "getMe").Extensions["x-scopes"] = "chat" },
			},
		},
		{
			name: "descriptions state the scopes",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					scopes, _ := o.scopes()
					var stated []string
					if sentence := requiresScope.FindStringSubmatch(o.Description); sentence != nil {
						stated = inBackticks(sentence[1])
					}
					if !slices.Equal(stated, scopes) {
						report(o.String(), "x-scopes is %v but the description states %v (\"Requires the scope `a` or `b`.\")", scopes, stated)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"missing": func(doc *openapi3.T) { find(doc, "sendMessage").Description = "Sends." },
				"too few": func(doc *openapi3.T) {
					o := find(doc, "sendMessage")
					o.Description = strings.Replace(o.Description, "Requires the scope `chat` or `agent`", "Requires the scope `chat`", 1)
				},
				"too many": func(doc *openapi3.T) { find(doc, "getMe").Description += " Requires the scope `chat`." },
				"another":  func(doc *openapi3.T) { setScopes(doc, "getChatbot", "admin") },
			},
		},
		{
			name:  "descriptions state rate class, client tokens and idempotency",
			check: checkStatedTerms,
			mutations: map[string]func(*openapi3.T){
				"no rate class": func(doc *openapi3.T) {
					o := find(doc, "getHistory")
					o.Description = strings.Replace(o.Description, "`history`", "some", 1)
				},
				"another rate class":     func(doc *openapi3.T) { find(doc, "getHistory").Extensions["x-rate-limit"] = "list" },
				"superfluous rate class": func(doc *openapi3.T) { find(doc, "getProblem").Description += " Rate class: `list`." },
				"no class":               func(doc *openapi3.T) { delete(find(doc, "getMe").Extensions, "x-rate-limit") },
				"unknown class":          func(doc *openapi3.T) { setRateClass(doc, "getMe", "some") },
				"no idempotency": func(doc *openapi3.T) {
					o := find(doc, "createFaq")
					o.Description = strings.Replace(o.Description, "Idempotency-Key", "key", 1)
				},
				"no client tokens": func(doc *openapi3.T) { setClientTokens(doc, "getRun", "contact") },
			},
		},
		{
			name: "createClientToken lists the operations that accept client tokens",
			check: func(doc *openapi3.T, report reportFunc) {
				list := find(doc, "createClientToken").Description
				for _, o := range operations(doc) {
					purposes := stringList(o.Extensions["x-client-tokens"])
					for _, purpose := range purposes {
						if !slices.Contains([]string{"conversation", "contact", "chatbot"}, purpose) {
							report(o.String(), "has the unknown purpose %s of client tokens", purpose)
						}
					}
					if scopes, _ := o.scopes(); len(purposes) > 0 && !slices.Contains(scopes, "chat") {
						report(o.String(), "accepts client tokens, which have the scope chat, but does not have that scope")
					}
					isListed := regexp.MustCompile(`\b` + o.OperationID + `\b`).MatchString(list)
					if isListed != (len(purposes) > 0) {
						report(o.String(), "listed by createClientToken: %t, x-client-tokens: %v", isListed, purposes)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"not listed": func(doc *openapi3.T) { find(doc, "getRun").Extensions["x-client-tokens"] = nil },
				"too many":   func(doc *openapi3.T) { setClientTokens(doc, "updateConversation", "contact") },
				"unknown":    func(doc *openapi3.T) { setClientTokens(doc, "getRun", "user") },
				"no scope":   func(doc *openapi3.T) { setScopes(doc, "getRun", "manage") },
			},
		},
		{
			name: "descriptions name known scopes only",
			check: func(doc *openapi3.T, report reportFunc) {
				eachText(doc, func(where, text string) {
					for _, place := range anyScope.FindAllStringSubmatch(text, -1) {
						checkKnown(doc, where, inBackticks(place[1]), report)
					}
				})
			},
			mutations: map[string]func(*openapi3.T){
				"in the introduction": func(doc *openapi3.T) { doc.Info.Description += " The scope `read` is enough." },
				"in an operation":     func(doc *openapi3.T) { find(doc, "getMe").Description += " With the scopes `chat` or `read`." },
				"in a parameter": func(doc *openapi3.T) {
					doc.Components.Parameters["PageSize"].Value.Description += " Requires the scope\n`read`."
				},
				"in a response": func(doc *openapi3.T) {
					text := "Without the scope `read`."
					doc.Components.Responses["Forbidden"].Value.Description = &text
				},
				"in a schema": func(doc *openapi3.T) { schemaOf(doc, "Seq").Description += " Requires the scope `read`." },
			},
		},
	}
}

var (
	rateClass     = regexp.MustCompile("Rate\\s+class:\\s+`([a-z]+)`\\.")
	acceptsTokens = regexp.MustCompile(`(?s)Accepts\s+client\s+tokens\s+for\s+(.*?)\.`)
)

// checkStatedTerms compares the rate class, the client tokens and the idempotency in descriptions
// with the declared ones.
func checkStatedTerms(doc *openapi3.T, report reportFunc) {
	for _, o := range operations(doc) {
		class := ""
		if found := rateClass.FindStringSubmatch(o.Description); found != nil {
			class = found[1]
		}
		declared, _ := o.Extensions["x-rate-limit"].(string)
		if isPublic := o.Security != nil && len(*o.Security) == 0; declared == "" && !isPublic {
			report(o.String(), "has no x-rate-limit")
		}
		if declared != "" && !slices.Contains(doc.Components.Schemas["RateClass"].Value.Enum, any(declared)) {
			report(o.String(), "x-rate-limit is %q, which is not a RateClass", declared)
		}
		if declared != class {
			report(o.String(), "x-rate-limit is %q but the description states %q (\"Rate class: `a`.\")", declared, class)
		}
		var purposes []string
		if found := acceptsTokens.FindStringSubmatch(o.Description); found != nil {
			purposes = inBackticks(found[1])
		}
		if declared := stringList(o.Extensions["x-client-tokens"]); !slices.Equal(declared, purposes) {
			report(o.String(), "x-client-tokens is %v but the description states %v (\"Accepts client tokens for an `a` or a `b`.\")", declared, purposes)
		}
		hasKey := slices.ContainsFunc(o.parameters, func(p *openapi3.Parameter) bool { return p.Name == "Idempotency-Key" })
		if hasKey && !strings.Contains(o.Description, "Idempotency-Key") {
			report(o.String(), "has an Idempotency-Key that the description does not mention")
		}
	}
}

func setRateClass(doc *openapi3.T, operationID, class string) {
	o := find(doc, operationID)
	o.Extensions["x-rate-limit"] = class
	o.Description = rateClass.ReplaceAllString(o.Description, "Rate class: `"+class+"`.")
}

func setClientTokens(doc *openapi3.T, operationID string, purposes ...string) {
	list := []any{}
	for _, purpose := range purposes {
		list = append(list, purpose)
	}
	find(doc, operationID).Extensions["x-client-tokens"] = list
}

func checkKnown(doc *openapi3.T, where string, scopes []string, report reportFunc) {
	for _, scope := range scopes {
		if !slices.Contains(schemaOf(doc, "Scope").Enum, any(scope)) {
			report(where, "unknown scope %s", scope)
		}
	}
}

func inBackticks(text string) []string {
	var found []string
	for _, word := range quoted.FindAllStringSubmatch(text, -1) {
		found = append(found, word[1])
	}
	return found
}

// eachText visits every summary and description of the document.
func eachText(doc *openapi3.T, visit func(where, text string)) {
	visit("info", doc.Info.Description)
	for _, tag := range doc.Tags {
		visit("tag "+tag.Name, tag.Description)
	}
	for _, o := range operations(doc) {
		visit(o.String(), o.Summary+". "+o.Description)
		for status, response := range o.Responses.Map() {
			if response.Value.Description != nil {
				visit(o.String()+", "+status, *response.Value.Description)
			}
		}
	}
	eachParameter(doc, func(where string, p *openapi3.Parameter) { visit(where, p.Description) })
	eachSchema(doc, func(where string, schema *openapi3.SchemaRef) {
		if schema.Ref == "" {
			visit(where, schema.Value.Description)
		}
	})
}

func setScopes(doc *openapi3.T, operationID string, scopes ...string) {
	list := []any{}
	for _, scope := range scopes {
		list = append(list, scope)
	}
	o := find(doc, operationID)
	if o.Extensions == nil {
		o.Extensions = map[string]any{}
	}
	o.Extensions["x-scopes"] = list
}
