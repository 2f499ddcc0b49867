package api_test

import (
	"regexp"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
)

var (
	// needsScope is the sentence by which an operation tells which scopes it takes.
	needsScope = regexp.MustCompile("(?s)Requires the scope ((?:`[^`]+`(?:,|\\s|or)*)+)\\.")
	// anyScope is any place that names scopes.
	anyScope = regexp.MustCompile("(?s)\\bscopes?:?\\s+((?:`[^`]+`(?:,|\\s|or\\b|and\\b)*)+)")
	quoted   = regexp.MustCompile("`([^`]+)`")
)

func scopeRules() []rule {
	return []rule{
		{
			name: "x-scopes are on each secured operation, and known",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					scopes, present := o.scopes()
					if present != o.secured(doc) {
						complain(o.String(), "x-scopes present: %t, secured: %t", present, o.secured(doc))
					}
					if list, ok := o.Extensions["x-scopes"].([]any); present && (!ok || len(list) != len(scopes)) {
						complain(o.String(), "x-scopes is no list of words")
					}
					checkKnown(doc, o.String(), scopes, complain)
				}
			},
			breaks: map[string]func(*openapi3.T){
				"none":           func(doc *openapi3.T) { delete(find(doc, "getMe").Extensions, "x-scopes") },
				"without a need": func(doc *openapi3.T) { setScopes(doc, "getHealth", "chat") },
				"unknown":        func(doc *openapi3.T) { setScopes(doc, "getMe", "everything") },
				"no list":        func(doc *openapi3.T) { find(doc, "getMe").Extensions["x-scopes"] = "chat" },
			},
		},
		{
			name: "the description tells the scopes",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					scopes, _ := o.scopes()
					var told []string
					if sentence := needsScope.FindStringSubmatch(o.Description); sentence != nil {
						told = inBackticks(sentence[1])
					}
					if !slices.Equal(told, scopes) {
						complain(o.String(), "x-scopes is %v but the description says %v (\"Requires the scope `a` or `b`.\")", scopes, told)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"not told": func(doc *openapi3.T) { find(doc, "sendMessage").Description = "Sends." },
				"too few": func(doc *openapi3.T) {
					o := find(doc, "sendMessage")
					o.Description = strings.Replace(o.Description, "Requires the scope `chat` or `agent`", "Requires the scope `chat`", 1)
				},
				"too many": func(doc *openapi3.T) { find(doc, "getMe").Description += " Requires the scope `chat`." },
				"another":  func(doc *openapi3.T) { setScopes(doc, "getChatbot", "admin") },
			},
		},
		{
			name:  "the description tells what else an operation asks of its callers",
			check: checkToldTerms,
			breaks: map[string]func(*openapi3.T){
				"no rate class": func(doc *openapi3.T) {
					o := find(doc, "getHistory")
					o.Description = strings.Replace(o.Description, "`history`", "some", 1)
				},
				"another rate class":           func(doc *openapi3.T) { find(doc, "getHistory").Extensions["x-rate-limit"] = "list" },
				"a rate class that it has not": func(doc *openapi3.T) { find(doc, "getMe").Description += " Rate class: `list`." },
				"no repeats": func(doc *openapi3.T) {
					o := find(doc, "createFaq")
					o.Description = strings.Replace(o.Description, "Idempotency-Key", "key", 1)
				},
				"no client tokens": func(doc *openapi3.T) { setClientTokens(doc, "getRun", "contact") },
			},
		},
		{
			name: "the operations that take client tokens are those that createClientToken tells",
			check: func(doc *openapi3.T, complain complain) {
				told := find(doc, "createClientToken").Description
				for _, o := range operations(doc) {
					purposes := words(o.Extensions["x-client-tokens"])
					for _, purpose := range purposes {
						if !slices.Contains([]string{"conversation", "contact", "chatbot"}, purpose) {
							complain(o.String(), "takes client tokens for %s", purpose)
						}
					}
					if scopes, _ := o.scopes(); len(purposes) > 0 && !slices.Contains(scopes, "chat") {
						complain(o.String(), "takes client tokens, which have the scope chat")
					}
					isTold := regexp.MustCompile(`\b` + o.OperationID + `\b`).MatchString(told)
					if isTold != (len(purposes) > 0) {
						complain(o.String(), "told: %t, x-client-tokens: %v", isTold, purposes)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"not told": func(doc *openapi3.T) { find(doc, "getRun").Extensions["x-client-tokens"] = nil },
				"too many": func(doc *openapi3.T) { setClientTokens(doc, "updateConversation", "contact") },
				"unknown":  func(doc *openapi3.T) { setClientTokens(doc, "getRun", "user") },
				"no scope": func(doc *openapi3.T) { setScopes(doc, "getRun", "manage") },
			},
		},
		{
			name: "no text names a scope that there is not",
			check: func(doc *openapi3.T, complain complain) {
				eachText(doc, func(where, text string) {
					for _, place := range anyScope.FindAllStringSubmatch(text, -1) {
						checkKnown(doc, where, inBackticks(place[1]), complain)
					}
				})
			},
			breaks: map[string]func(*openapi3.T){
				"in the introduction": func(doc *openapi3.T) { doc.Info.Description += " The scope `read` is enough." },
				"in an operation":     func(doc *openapi3.T) { find(doc, "getMe").Description += " With the scopes `chat` or `read`." },
				"in a parameter": func(doc *openapi3.T) {
					doc.Components.Parameters["PageSize"].Value.Description += " Requires the scope\n`read`."
				},
				"in an answer": func(doc *openapi3.T) {
					text := "Without the scope `read`."
					doc.Components.Responses["Forbidden"].Value.Description = &text
				},
				"in a schema": func(doc *openapi3.T) { schemaOf(doc, "Seq").Description += " Requires the scope `read`." },
			},
		},
	}
}

var (
	rateClass   = regexp.MustCompile("Rate\\s+class:\\s+`([a-z]+)`\\.")
	takesTokens = regexp.MustCompile(`(?s)Accepts\s+client\s+tokens\s+for\s+(.*?)\.`)
)

// checkToldTerms holds what is said of the rate class, of client tokens and of repeats against what is declared.
func checkToldTerms(doc *openapi3.T, complain complain) {
	for _, o := range operations(doc) {
		told := ""
		if found := rateClass.FindStringSubmatch(o.Description); found != nil {
			told = found[1]
		}
		if declared, _ := o.Extensions["x-rate-limit"].(string); declared != told {
			complain(o.String(), "x-rate-limit is %q but the description says %q (\"Rate class: `a`.\")", declared, told)
		}
		var purposes []string
		if found := takesTokens.FindStringSubmatch(o.Description); found != nil {
			purposes = inBackticks(found[1])
		}
		if declared := words(o.Extensions["x-client-tokens"]); !slices.Equal(declared, purposes) {
			complain(o.String(), "x-client-tokens is %v but the description says %v (\"Accepts client tokens for an `a` or a `b`.\")", declared, purposes)
		}
		isRepeatable := slices.ContainsFunc(o.parameters, func(p *openapi3.Parameter) bool { return p.Name == "Idempotency-Key" })
		if isRepeatable && !strings.Contains(o.Description, "Idempotency-Key") {
			complain(o.String(), "takes an Idempotency-Key of which the description says nothing")
		}
	}
}

func setClientTokens(doc *openapi3.T, operationID string, purposes ...string) {
	list := []any{}
	for _, purpose := range purposes {
		list = append(list, purpose)
	}
	find(doc, operationID).Extensions["x-client-tokens"] = list
}

func checkKnown(doc *openapi3.T, where string, scopes []string, complain complain) {
	for _, scope := range scopes {
		if !slices.Contains(schemaOf(doc, "Scope").Enum, any(scope)) {
			complain(where, "there is no scope %s", scope)
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

// eachText visits every description of the document.
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
