package api_test

import (
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// auditRules returns the rules for x-audit, the audit events of operations.
func auditRules() []rule {
	return []rule{
		{
			name: "deletions, exports and key operations have x-audit",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, o := range operations(doc) {
					action, isAudited := o.Extensions["x-audit"]
					isRequired := o.method == "DELETE" || slices.Contains(o.Tags, "ApiKeys") && o.method == "POST" || o.returnsFile()
					if isRequired && !isAudited {
						report(o.String(), "has no x-audit")
					}
					if isAudited && !slices.Contains(schemaOf(doc, "AuditAction").Enum, action) {
						report(o.String(), "x-audit is %v, which is not an AuditAction", action)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"a deletion": func(doc *openapi3.T) { delete(find(doc, "deleteContact").Extensions, "x-audit") },
				"an export":  func(doc *openapi3.T) { delete(find(doc, "exportRecordsAsText").Extensions, "x-audit") },
				"a key":      func(doc *openapi3.T) { delete(find(doc, "createApiKey").Extensions, "x-audit") },
				"unknown":    func(doc *openapi3.T) { find(doc, "deleteContact").Extensions["x-audit"] = "contact.gone" },
			},
		},
		{
			name: "every audit action belongs to an operation",
			check: func(doc *openapi3.T, report reportFunc) {
				for _, action := range schemaOf(doc, "AuditAction").Enum {
					if !slices.ContainsFunc(operations(doc), func(o operation) bool { return o.Extensions["x-audit"] == action }) {
						report("AuditAction", "no operation has the x-audit %v", action)
					}
				}
			},
			mutations: map[string]func(*openapi3.T){
				"unused": func(doc *openapi3.T) {
					actions := schemaOf(doc, "AuditAction")
					actions.Enum = append(slices.Clone(actions.Enum), "run.cancelled")
				},
			},
		},
	}
}

// returnsFile reports whether the response is a file to be saved.
func (o operation) returnsFile() bool {
	response := o.Responses.Value("200")
	return response != nil && response.Value.Headers["Content-Disposition"] != nil
}
