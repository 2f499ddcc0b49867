package openai

import (
	"time"

	"github.com/oapi-codegen/nullable"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/reply"
)

func (c completion) id() string { return "chatcmpl-" + c.reply.RunID.String() }

func (c completion) toAPICompletion(outcome *reply.Outcome) openapi.CreateChatCompletion200JSONResponse {
	response := openapi.CreateChatCompletion200JSONResponse{Body: openapi.ChatCompletion{
		ID:      c.id(),
		Object:  openapi.ChatCompletionObjectChatCompletion,
		Created: c.created.Unix(),
		Model:   c.model,
		Choices: []openapi.ChatChoice{{
			Message: openapi.ChatReply{
				Role: openapi.ChatReplyRoleAssistant, Content: outcome.Content, Refusal: nullable.NewNullNullable[string](),
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
		ID:      c.id(),
		Object:  openapi.ChatCompletionChunkObjectChatCompletionChunk,
		Created: c.created.Unix(),
		Model:   c.model,
		Choices: []openapi.ChatChunkChoice{},
	}
}

// toAPIFinishReason returns why a reply ended that did not fail. OpenAI's API has no reason for a
// cancelled reply.
func toAPIFinishReason(outcome *reply.Outcome) openapi.ChatChoiceFinishReason {
	if outcome.FinishReason == "length" {
		return openapi.ChatChoiceFinishReasonLength
	}
	return openapi.ChatChoiceFinishReasonStop
}

// toAPIUsage returns the usage of an answer; an engine that reports none used no tokens.
func toAPIUsage(answer bot.Answer) openapi.ChatUsage {
	var usage openapi.ChatUsage
	if answer.PromptTokens != nil {
		usage.PromptTokens = *answer.PromptTokens
	}
	if answer.CompletionTokens != nil {
		usage.CompletionTokens = *answer.CompletionTokens
	}
	usage.TotalTokens = usage.PromptTokens + usage.CompletionTokens
	return usage
}

func toAPIModel(principal auth.Principal, slug string, created time.Time) openapi.OpenAIModel {
	return openapi.OpenAIModel{ID: slug, Object: openapi.OpenAIModelObjectModel, Created: created.Unix(), OwnedBy: principal.OrganizationName}
}
