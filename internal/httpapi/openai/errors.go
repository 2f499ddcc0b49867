package openai

import (
	"net/http"
	"regexp"
	"strings"

	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/httpapi/contract"
)

// ErrorOf returns an error in OpenAI's format.
func ErrorOf(appErr *apperr.Error) openapi.OpenAIError {
	detail := openapi.OpenAIErrorDetail{
		Message: appErr.Message,
		Type:    errorType(appErr.Kind),
		Param:   nullable.NewNullNullable[string](),
		Code:    string(appErr.Kind),
	}
	if appErr.Code != "" {
		detail.Code = appErr.Code
	}
	if len(appErr.Violations) > 0 {
		param := paramOf(appErr.Violations[0])
		if param != "" {
			detail.Param = nullable.NewNullableWithValue(param)
		}
		if appErr.Kind == apperr.NotFound && param == "model" {
			detail.Code = "model_not_found"
		}
	}
	return openapi.OpenAIError{Error: detail}
}

func errorType(kind apperr.Kind) openapi.OpenAIErrorDetailType {
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
	if contract.Kinds[kind].Status >= http.StatusInternalServerError {
		return openapi.OpenAIErrorDetailTypeServerError
	}
	return openapi.OpenAIErrorDetailTypeInvalidRequestError
}

var arrayIndex = regexp.MustCompile(`/(\d+)`)

// paramOf converts a pointer to OpenAI's notation: messages[0].content for /messages/0/content.
func paramOf(violation apperr.Violation) string {
	if violation.Parameter != "" {
		return violation.Parameter
	}
	dotted := strings.ReplaceAll(arrayIndex.ReplaceAllString(violation.Pointer, "[$1]"), "/", ".")
	return strings.NewReplacer("~1", "/", "~0", "~").Replace(strings.TrimPrefix(dotted, "."))
}
