package httpapi

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"

	"parley/internal/apperr"
	"parley/internal/jsontext"
)

// invalid turns the validator's errors into one fault with an item for each.
func (op *operation) invalid(err error) error {
	// The validator's error is not kept: it repeats what was sent, which is not for the log.
	found := &apperr.Error{Kind: apperr.InvalidRequest}
	op.collect(err, openapi3filter.RequestError{}, found)
	slices.SortStableFunc(found.Violations, func(a, b apperr.Violation) int { return strings.Compare(a.Pointer+a.Parameter, b.Pointer+b.Parameter) })
	if found.Message == "" {
		found.Message = "The request is not valid."
		if len(found.Violations) > 0 {
			first := found.Violations[0]
			found.Message = fmt.Sprintf("The request is not valid: %s %s.", orBody(first.Pointer+first.Parameter), first.Detail)
		}
	}
	return found
}

// maxMistakes is how many mistakes are told at the most.
const maxMistakes = 100

func orBody(where string) string {
	if where == "" {
		return "the body"
	}
	return where
}

func (op *operation) collect(err error, within openapi3filter.RequestError, found *apperr.Error) {
	switch e := err.(type) { //nolint:errorlint // the validator's errors are a tree, walked node by node
	case openapi3.MultiError:
		for _, one := range e {
			if len(found.Violations) < maxMistakes {
				op.collect(one, within, found)
			}
		}
	case *openapi3filter.RequestError:
		if e.Err != nil {
			op.collect(e.Err, *e, found)
			return
		}
		found.Violations = append(found.Violations, itemOf(*e, "", "is not valid"))
	case *openapi3.SchemaError:
		pointer := pointerOf(e.JSONPointer())
		item := itemOf(within, pointer, detailOf(e))
		found.Violations = append(found.Violations, item)
		if item.In != "body" || !op.isMessageField(pointer) {
			return
		}
		if found.Kind == apperr.InvalidRequest {
			found.Kind = apperr.InvalidMessage
		}
		if e.SchemaField == "maxLength" && *e.Schema.MaxLength == maxContent {
			found.Kind, found.Message = apperr.TooLarge, "A message may have 32,768 characters."
		}
	default:
		detail := "is not valid"
		switch {
		case errors.Is(err, openapi3filter.ErrInvalidRequired):
			detail = "is missing"
		case errors.Is(err, openapi3filter.ErrInvalidEmptyValue):
			detail = "must not be empty"
		case within.Parameter != nil && within.Parameter.Schema != nil:
			detail = "must be of type " + strings.Join(within.Parameter.Schema.Value.Type.Slice(), " or ")
		}
		found.Violations = append(found.Violations, itemOf(within, "", detail))
	}
}

// maxContent is the length of a message's content, in characters.
const maxContent = 32768

func (op *operation) isMessageField(pointer string) bool {
	return slices.ContainsFunc(op.messageFields, func(field string) bool {
		return pointer == field || strings.HasPrefix(pointer, field+"/")
	})
}

// asMessageFault gives a mistake in the message's own fields its own code.
func (op *operation) asMessageFault(err error) error {
	found, ok := errors.AsType[*apperr.Error](err)
	if ok && len(found.Violations) > 0 && op.isMessageField(found.Violations[0].Pointer) {
		found.Kind = apperr.InvalidMessage
	}
	return err
}

func itemOf(within openapi3filter.RequestError, pointer, detail string) apperr.Violation {
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

// notBlank is the pattern of texts that are more than white space.
const notBlank = `[^\s　]`

func number(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

// detailOf says what a value should have been.
func detailOf(e *openapi3.SchemaError) string {
	switch e.SchemaField {
	case "required":
		return "is missing"
	case "type":
		return "must be of type " + strings.Join(e.Schema.Type.Slice(), " or ")
	case "nullable":
		return "must not be null"
	case "enum":
		return "must be one of " + join(e.Schema.Enum)
	case "minimum":
		return "must be at least " + number(*e.Schema.Min)
	case "maximum":
		return "must be at most " + number(*e.Schema.Max)
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
		if e.Schema.Pattern == notBlank {
			return "must not be blank"
		}
		if choices, ok := choicesOf(e.Schema); ok {
			return "must be one of " + choices
		}
		return "must match " + e.Schema.Pattern
	}
	return "is not valid"
}

// choicesOf reads a pattern that lists what a text may be: the document has one instead
// of an enum where null may be too, which generators cannot have in an enum and
// validators must.
func choicesOf(schema *openapi3.Schema) (string, bool) {
	list, opened := strings.CutPrefix(schema.Pattern, "^(")
	list, closed := strings.CutSuffix(list, ")$")
	if !opened || !closed {
		return "", false
	}
	choices := strings.Split(list, "|")
	if schema.Nullable {
		choices = append(choices, "null")
	}
	return join(choices), true
}

func join[T any](list []T) string {
	texts := make([]string, len(list))
	for i, one := range list {
		if texts[i] = fmt.Sprint(one); any(one) == nil {
			texts[i] = "null"
		}
	}
	return strings.Join(texts, ", ")
}
