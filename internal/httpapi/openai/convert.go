package openai

import (
	"time"

	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/reply"
)

func (c completion) toAPICompletion(outcome *reply.Outcome) openapi.CreateChatCompletion200JSONResponse {
	response := openapi.CreateChatCompletion200JSONResponse{Body: openapi.ChatCompletion{
		ID:      c.id,
		Object:  openapi.ChatCompletionObjectChatCompletion,
		Created: c.created.Unix(),
		Model:   c.model,
		Choices: []openapi.ChatChoice{{
			Message: openapi.ChatReply{
				Role: openapi.ChatReplyRoleAssistant, Content: nullable.NewNullableWithValue(outcome.Content), Refusal: nullable.NewNullNullable[string](),
			},
			Logprobs:     nullable.NewNullNullable[map[string]any](),
			FinishReason: toAPIFinishReason(outcome),
		}},
		Usage: toAPIUsage(outcome.Answer),
	}}
	if c.reply.IsStored() {
		response.Headers.XRunID = &c.reply.RunID
	}
	return response
}

// toAPIChunk returns a chunk without choices.
func (c completion) toAPIChunk() openapi.ChatCompletionChunk {
	return openapi.ChatCompletionChunk{
		ID:      c.id,
		Object:  openapi.ChatCompletionChunkObjectChatCompletionChunk,
		Created: c.created.Unix(),
		Model:   c.model,
		Choices: []openapi.ChatChunkChoice{},
	}
}

// toAPIFinishReason returns the finish reason of a reply that did not fail. OpenAI's API has no reason for a
// cancelled reply.
func toAPIFinishReason(outcome *reply.Outcome) string {
	if outcome.FinishReason == "cancelled" {
		return "stop"
	}
	return outcome.FinishReason
}

// toAPIUsage returns the usage of an answer. It is absent if the engine does not count tokens.
func toAPIUsage(answer bot.Answer) (usage nullable.Nullable[openapi.ChatUsage]) {
	if answer.PromptTokens == nil || answer.CompletionTokens == nil {
		return usage
	}
	counts := openapi.ChatUsage{
		PromptTokens: *answer.PromptTokens, CompletionTokens: *answer.CompletionTokens,
		TotalTokens: *answer.PromptTokens + *answer.CompletionTokens,
	}
	if answer.CachedTokens != nil {
		counts.PromptTokensDetails.Set(openapi.ChatPromptTokensDetails{CachedTokens: nullable.NewNullableWithValue(*answer.CachedTokens)})
	}
	if answer.ReasoningTokens != nil {
		counts.CompletionTokensDetails.Set(openapi.ChatCompletionTokensDetails{ReasoningTokens: nullable.NewNullableWithValue(*answer.ReasoningTokens)})
	}
	return nullable.NewNullableWithValue(counts)
}

func toAPIModel(principal auth.Principal, slug string, created time.Time) openapi.OpenAIModel {
	return openapi.OpenAIModel{ID: slug, Object: openapi.OpenAIModelObjectModel, Created: created.Unix(), OwnedBy: principal.OrganizationName}
}
