package httpapi

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/apperr"
)

// speaksOpenAI tells whether a request is one of OpenAI's API, which has a form of its
// own for failures, of unknown paths too.
func speaksOpenAI(r *http.Request) bool {
	return r.URL.Path == "/v1" || strings.HasPrefix(r.URL.Path, "/v1/")
}

// openAIErrorOf is a fault as OpenAI's API tells it.
func openAIErrorOf(told *apperr.Error) openapi.OpenAIError {
	detail := openapi.OpenAIErrorDetail{
		Message: told.Message,
		Type:    openAIErrorType(told.Kind),
		Param:   nullable.NewNullNullable[string](),
		Code:    string(told.Kind),
	}
	if len(told.Violations) > 0 {
		where := paramOf(told.Violations[0])
		if where != "" {
			detail.Param = nullable.NewNullableWithValue(where)
		}
		if told.Kind == apperr.NotFound && where == "model" {
			detail.Code = "model_not_found"
		}
	}
	return openapi.OpenAIError{Error: detail}
}

func openAIErrorType(kind apperr.Kind) openapi.OpenAIErrorDetailType {
	switch kind {
	case apperr.Unauthorized:
		return openapi.OpenAIErrorDetailTypeAuthenticationError
	case apperr.Forbidden:
		return openapi.OpenAIErrorDetailTypePermissionError
	case apperr.NotFound:
		return openapi.OpenAIErrorDetailTypeNotFoundError
	case apperr.RateLimited:
		return openapi.OpenAIErrorDetailTypeRateLimitError
	}
	if kinds[kind].status >= http.StatusInternalServerError {
		return openapi.OpenAIErrorDetailTypeServerError
	}
	return openapi.OpenAIErrorDetailTypeInvalidRequestError
}

var index = regexp.MustCompile(`/(\d+)`)

// paramOf names a place as OpenAI does: messages[0].content for /messages/0/content.
func paramOf(item apperr.Violation) string {
	if item.In != "body" {
		return item.Parameter
	}
	dotted := strings.ReplaceAll(index.ReplaceAllString(item.Pointer, "[$1]"), "/", ".")
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(strings.TrimPrefix(dotted, "."))
}
