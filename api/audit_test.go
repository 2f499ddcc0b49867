package api_test

import (
	"slices"

	"github.com/getkin/kin-openapi/openapi3"
)

// auditRules say which operations leave an event in the audit trail.
func auditRules() []rule {
	return []rule{
		{
			name: "deletions, exports and keys are in the audit trail",
			check: func(doc *openapi3.T, complain complain) {
				for _, o := range operations(doc) {
					action, isAudited := o.Extensions["x-audit"]
					mustBe := o.method == "DELETE" || slices.Contains(o.Tags, "ApiKeys") && o.method == "POST" || o.writesFile()
					if mustBe && !isAudited {
						complain(o.String(), "has no x-audit")
					}
					if isAudited && !slices.Contains(schemaOf(doc, "AuditAction").Enum, action) {
						complain(o.String(), "x-audit is %v, which is no AuditAction", action)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"a deletion": func(doc *openapi3.T) { delete(find(doc, "deleteContact").Extensions, "x-audit") },
				"an export":  func(doc *openapi3.T) { delete(find(doc, "exportRecordsAsText").Extensions, "x-audit") },
				"a key":      func(doc *openapi3.T) { delete(find(doc, "createApiKey").Extensions, "x-audit") },
				"unknown":    func(doc *openapi3.T) { find(doc, "deleteContact").Extensions["x-audit"] = "contact.gone" },
			},
		},
		{
			name: "every action of the audit trail is some operation's",
			check: func(doc *openapi3.T, complain complain) {
				for _, action := range schemaOf(doc, "AuditAction").Enum {
					if !slices.ContainsFunc(operations(doc), func(o operation) bool { return o.Extensions["x-audit"] == action }) {
						complain("AuditAction", "no operation has %v as x-audit", action)
					}
				}
			},
			breaks: map[string]func(*openapi3.T){
				"nobody's": func(doc *openapi3.T) {
					actions := schemaOf(doc, "AuditAction")
					actions.Enum = append(slices.Clone(actions.Enum), "run.cancelled")
				},
			},
		},
	}
}

// writesFile tells whether the operation answers with a file to be saved.
func (o operation) writesFile() bool {
	response := o.Responses.Value("200")
	return response != nil && response.Value.Headers["Content-Disposition"] != nil
}
