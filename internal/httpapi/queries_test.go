package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"parley/internal/auth"
)

// Integers in queries must be integers within the document's bounds.
func TestIntegersInQueriesAreValidated(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	met := 0
	for _, op := range operations {
		for _, parameter := range op.in("query") {
			schema := parameter.Schema.Value
			if !schema.Type.Is("integer") {
				continue
			}
			met++
			bad := []string{"", "x", "1x", "1.5", "1e2", "0x10", "NaN", "99999999999999999999", "-99999999999999999999", " 1", "true", "１"}
			if schema.Min != nil {
				bad = append(bad, strconv.Itoa(int(*schema.Min)-1))
			}
			if schema.Max != nil {
				bad = append(bad, strconv.Itoa(int(*schema.Max)+1))
			}
			for _, value := range bad {
				path := op.target(resources, parameter.Name+"="+url.QueryEscape(value))
				if err := op.send(admin, path, op.validBody(resources)).checkProblem(400, "invalid_request", parameter.Name); err != nil {
					t.Errorf("%s %s=%q: %v", op.id, parameter.Name, value, err)
				}
			}
			if schema.Default == nil {
				continue
			}
			bare := op.send(admin, op.target(resources, ""), op.validBody(resources), withHeader("X-Request-Id", "same"))
			same := op.send(admin, op.target(resources, fmt.Sprintf("%s=%v", parameter.Name, schema.Default)), op.validBody(resources), withHeader("X-Request-Id", "same"))
			if string(bare.body) != string(same.body) {
				t.Errorf("%s: without %s the response is %s, with its default value %s", op.id, parameter.Name, bare.body, same.body)
			}
		}
	}
	if met < 10 {
		t.Errorf("only %d integers were tested", met)
	}
}

// Strings in queries must be within the document's bounds and must not contain NUL.
func TestTextsInQueriesAreValidated(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	for _, op := range operations {
		for _, parameter := range op.in("query") {
			schema := parameter.Schema.Value
			bad := []string{"%00", "a%00b", "%ff", "%zz", "%"}
			if schema.MinLength > 0 {
				bad = append(bad, "")
			}
			if schema.MaxLength != nil {
				bad = append(bad, fmt.Sprintf("%0*d", int(*schema.MaxLength)+1, 0))
			}
			if len(schema.Enum) > 0 {
				bad = append(bad, "nonsense", "", "ACTIVE")
			}
			if schema.Format == "date" {
				bad = append(bad, "", "yesterday", "2026-1-15", "2026-02-30", "2026-13-01", "20260115", "2026-01-15T00:00:00Z", "0000-01-01", "10000-01-01", "1768472400")
			}
			if parameter.Name == "timezone" {
				bad = append(bad, "Mars/Olympus", "Local", "UTC+8", "+08:00", "asia%2Ftaipei%20", "..%2Fetc", "%2Fetc%2Flocaltime", "posixrules")
			}
			if schema.Type.Is("boolean") {
				bad = append(bad, "", "yes", "2", "null")
			}
			if schema.Format == "date-time" {
				bad = append(bad, "", "yesterday", "2026-01-15", "2026-13-15T10:30:00Z", "2026-02-30T10:30:00Z", "2026-01-15T10:30:00", "2026-01-15+10:30:00Z", "1768472400", "2026-01-15T10:30:60Z")
			}
			for _, value := range bad {
				path := op.target(resources, parameter.Name+"="+value)
				where := parameter.Name
				if value == "%" || value == "%zz" {
					where = ""
				}
				if err := op.send(admin, path, op.validBody(resources)).checkProblem(400, "invalid_request", where); err != nil {
					t.Errorf("%s %s=%.40q: %v", op.id, parameter.Name, value, err)
				}
			}
		}
	}
}

// Declared headers are validated too.
func TestHeadersAreValidated(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	for _, op := range operations {
		for _, parameter := range op.in("header") {
			if parameter.Name != "Idempotency-Key" {
				continue // see the test of event IDs
			}
			schema := parameter.Schema.Value
			for _, value := range []string{fmt.Sprintf("%0*d", int(*schema.MaxLength)+1, 0), "with space", "字", "\xff"} {
				got := op.send(admin, op.pathOf(resources), op.validBody(resources), withHeader(parameter.Name, value))
				if err := got.checkProblem(400, "invalid_request", parameter.Name); err != nil {
					t.Errorf("%s %s: %.20q: %v", op.id, parameter.Name, value, err)
				}
			}
			long := fmt.Sprintf("%0*d", int(*schema.MaxLength), 0)
			if got := op.send(admin, op.pathOf(resources), op.validBody(resources), withHeader(parameter.Name, long)); got.status >= 300 {
				t.Errorf("%s with the longest %s: %d %s", op.id, parameter.Name, got.status, got.body)
			}
		}
	}
}

// Unknown parameters are ignored, like unknown fields.
func TestUnknownParametersAreIgnored(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	for _, op := range operations {
		if op.method == http.MethodGet {
			got := op.send(admin, op.target(resources, "unknown=1&x[]=2&="), nil)
			if got.status != http.StatusOK && got.status != http.StatusSwitchingProtocols {
				t.Errorf("%s: %d %s", op.id, got.status, got.body)
			}
		}
	}
}

// Parameters that the document requires must be present.
func TestRequiredParametersAreEnforced(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	met := 0
	for _, op := range operations {
		for _, parameter := range op.in("query") {
			if !parameter.Required {
				continue
			}
			met++
			var others []string
			for _, other := range op.in("query") {
				if other.Required && other != parameter {
					others = append(others, other.Name+"="+dayParameters[other.Name])
				}
			}
			if err := op.send(admin, op.pathOf(resources)+"?"+strings.Join(others, "&"), nil).checkProblem(400, "invalid_request", parameter.Name); err != nil {
				t.Errorf("%s without %s: %v", op.id, parameter.Name, err)
			}
		}
	}
	if met < 6 {
		t.Errorf("only %d parameters are required", met)
	}
}

// Operations without query parameters ignore any query.
func TestOperationsWithoutParametersIgnoreQueries(t *testing.T) {
	t.Parallel()
	admin := serve(t).organization().as("admin", auth.Admin)
	resources := admin.createResources()
	for _, op := range operations {
		if op.method != http.MethodGet || len(op.in("query")) > 0 {
			continue
		}
		for _, query := range []string{"%", "%zz", "a;b", "x=%00", "x=%ff", "x=", "=", "x=1&x=2"} {
			if got := op.send(admin, op.pathOf(resources)+"?"+query, nil); got.status != http.StatusOK {
				t.Errorf("%s?%s: %d %s", op.id, query, got.status, got.body)
			}
		}
	}
}
