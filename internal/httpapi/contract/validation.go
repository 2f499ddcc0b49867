package contract

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/labstack/echo/v4"

	"parley/internal/apperr"
	"parley/internal/jsontext"
)

const (
	// MaxContent is the length of a message's content in characters.
	MaxContent = 100_000
	// ContentTooLarge is the message of the error for longer content.
	ContentTooLarge = "A message can have at most 100,000 characters."

	// maxViolations is the maximum number of violations that are reported.
	maxViolations = 100
	// maxFullyValidated is the number of values in a body, estimated by its commas, up to which all violations are
	// reported. Larger bodies could have tens of thousands of violations, so only their first one is reported.
	maxFullyValidated = 4000
)

// validate checks the parameters and the JSON body against their schemas. Uploads are checked by
// their handlers, because validating them here would hold them in memory.
func (op *operation) validate(r *http.Request, ec echo.Context, body []byte) error {
	params := make(map[string]string, len(ec.ParamNames()))
	for _, name := range ec.ParamNames() {
		params[name] = ec.Param(name)
	}
	input := &openapi3filter.RequestValidationInput{
		Request:    r,
		PathParams: params,
		Route:      op.route,
		Options:    &openapi3filter.Options{ExcludeRequestBody: true},
	}
	var value any
	if op.bodySchema != nil {
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber() // numbers can exceed float64
		if err := decoder.Decode(&value); err != nil {
			return fmt.Errorf("decode a body that is valid JSON: %w", err)
		}
	}
	err := openapi3filter.ValidateRequest(r.Context(), input)
	if err == nil && op.bodySchema != nil {
		err = op.bodySchema.VisitJSON(value)
	}
	if err == nil {
		return nil
	}
	all := openapi3.MultiError{err}
	if bytes.Count(body, []byte(",")) <= maxFullyValidated { // validate again to collect all violations
		input.Options.MultiError = true
		all = openapi3.MultiError{openapi3filter.ValidateRequest(r.Context(), input)}
		if op.bodySchema != nil {
			all = append(all, op.bodySchema.VisitJSON(value, openapi3.MultiErrors()))
		}
	}
	return op.validationError(all)
}

// validationError converts the validator's errors into one error with a violation for each. It
// does not wrap them: they quote the request, which must not be logged.
func (op *operation) validationError(err error) error {
	converted := &apperr.Error{Kind: apperr.InvalidRequest}
	op.collect(err, openapi3filter.RequestError{}, converted)
	slices.SortStableFunc(converted.Violations, func(a, b apperr.Violation) int {
		return strings.Compare(a.Pointer+a.Parameter, b.Pointer+b.Parameter)
	})
	if converted.Message == "" {
		converted.Message = invalidRequest
		if len(converted.Violations) > 0 {
			first := converted.Violations[0]
			converted.Message = fmt.Sprintf("The request is not valid: %s %s.", placeOf(first), first.Detail)
		}
	}
	return converted
}

func placeOf(violation apperr.Violation) string {
	if place := violation.Pointer + violation.Parameter; place != "" {
		return place
	}
	return "the body"
}

// collect adds the violations in a tree of validator errors to an error. within is the nearest
// RequestError above err, which names the parameter.
func (op *operation) collect(err error, within openapi3filter.RequestError, into *apperr.Error) {
	switch e := err.(type) { //nolint:errorlint // a tree, walked node by node
	case nil:
	case openapi3.MultiError:
		for _, child := range e {
			if len(into.Violations) < maxViolations {
				op.collect(child, within, into)
			}
		}
	case *openapi3filter.RequestError:
		if e.Err != nil {
			op.collect(e.Err, *e, into)
			return
		}
		into.Violations = append(into.Violations, violationOf(*e, "", "is not valid"))
	case *openapi3.SchemaError:
		violation := violationOf(within, pointerOf(e.JSONPointer()), schemaDetail(e))
		if violation.In == "query" && e.Schema.Format == "date-time" && strings.Contains(fmt.Sprint(e.Value), " ") {
			violation.Detail += "; write the + of its offset as %2B"
		}
		into.Violations = append(into.Violations, violation)
		if violation.In != "body" || !op.isMessageField(violation.Pointer) {
			return
		}
		if into.Kind == apperr.InvalidRequest {
			into.Kind = apperr.InvalidMessage
		}
		if e.SchemaField == "maxLength" && *e.Schema.MaxLength == MaxContent {
			into.Kind, into.Message = apperr.TooLarge, ContentTooLarge
		}
	default:
		into.Violations = append(into.Violations, violationOf(within, "", parameterDetail(err, within.Parameter)))
	}
}

// isMessageField reports whether a pointer is a field of the message itself, or below one.
func (op *operation) isMessageField(pointer string) bool {
	return slices.ContainsFunc(op.messageFields, func(field string) bool {
		return pointer == field || strings.HasPrefix(pointer, field+"/")
	})
}

// asMessageError changes the kind of an error to InvalidMessage if its first violation is in a
// field of the message itself.
func (op *operation) asMessageError(err error) error {
	found, ok := errors.AsType[*apperr.Error](err)
	if ok && len(found.Violations) > 0 && op.isMessageField(op.bodyShape.DeclaredPointer(found.Violations[0].Pointer)) {
		found.Kind = apperr.InvalidMessage
	}
	return err
}

func violationOf(within openapi3filter.RequestError, pointer, detail string) apperr.Violation {
	if within.Parameter != nil {
		return apperr.Violation{In: within.Parameter.In, Parameter: within.Parameter.Name, Detail: detail}
	}
	return apperr.Violation{In: "body", Pointer: pointer, Detail: detail}
}

func pointerOf(path []string) string {
	var pointer strings.Builder
	for _, part := range path {
		pointer.WriteString("/" + jsontext.Escape(part))
	}
	return pointer.String()
}

// parameterDetail describes what is wrong with a parameter or body that matches no schema at all.
func parameterDetail(err error, parameter *openapi3.Parameter) string {
	switch {
	case errors.Is(err, openapi3filter.ErrInvalidRequired):
		return "is missing"
	case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
		return "must not be empty"
	case parameter != nil && parameter.Schema != nil:
		return mustHaveType(parameter.Schema.Value)
	}
	return "is not valid"
}

// schemaDetail describes the values that a schema accepts.
func schemaDetail(e *openapi3.SchemaError) string {
	switch e.SchemaField {
	case "required":
		return "is missing"
	case "type":
		return mustHaveType(e.Schema)
	case "nullable":
		return "must not be null"
	case "enum":
		return "must be one of " + join(e.Schema.Enum)
	case "minimum":
		return "must be at least " + formatNumber(*e.Schema.Min)
	case "maximum":
		return "must be at most " + formatNumber(*e.Schema.Max)
	case "minLength":
		return fmt.Sprintf("must have at least %d characters", e.Schema.MinLength)
	case "maxLength":
		return fmt.Sprintf("must have at most %d characters", *e.Schema.MaxLength)
	case "minItems":
		return fmt.Sprintf("must have at least %d items", e.Schema.MinItems)
	case "maxItems":
		return fmt.Sprintf("must have at most %d items", *e.Schema.MaxItems)
	case "format":
		return "must be a " + e.Schema.Format
	case "pattern":
		return patternDetail(e.Schema)
	}
	return "is not valid"
}

func mustHaveType(schema *openapi3.Schema) string {
	return "must be of type " + strings.Join(schema.Type.Slice(), " or ")
}

// notBlank is the pattern of texts with a character that is not white space.
const notBlank = `[^\s　]`

func patternDetail(schema *openapi3.Schema) string {
	if schema.Pattern == notBlank {
		return "must not be blank"
	}
	if choices, ok := choicesOf(schema); ok {
		return "must be one of " + choices
	}
	return "must match " + schema.Pattern
}

// choicesOf returns the alternatives of a pattern such as ^(a|b)$. The document uses such patterns
// for enums that allow null: validators require null among the values, and code generators reject it.
func choicesOf(schema *openapi3.Schema) (string, bool) {
	list, hasPrefix := strings.CutPrefix(schema.Pattern, "^(")
	list, hasSuffix := strings.CutSuffix(list, ")$")
	if !hasPrefix || !hasSuffix {
		return "", false
	}
	choices := strings.Split(list, "|")
	if schema.Nullable {
		choices = append(choices, "null")
	}
	return join(choices), true
}

func formatNumber(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// join lists values, separated by commas.
func join[T any](list []T) string {
	texts := make([]string, len(list))
	for i, value := range list {
		if texts[i] = fmt.Sprint(value); any(value) == nil {
			texts[i] = "null"
		}
	}
	return strings.Join(texts, ", ")
}
