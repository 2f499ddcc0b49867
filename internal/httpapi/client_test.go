package httpapi_test

import (
	"net/http"
	"testing"

	"github.com/oapi-codegen/nullable"

	api "parley/gen/client"
	"parley/internal/auth"
)

// The generated client can perform an integrator's first steps: its types match the responses, and the server accepts
// its requests.
func TestGeneratedClientWorksWithTheServer(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	ctx := t.Context()
	portal := o.as("portal", auth.Admin).client()

	made, err := portal.CreateChatbotWithResponse(ctx, nil, api.ChatbotCreate{Name: "Support", Slug: new("support"), UnanswerableReply: new("No.")})
	if err != nil || made.JSON201 == nil {
		t.Fatalf("%v, %s", err, made.Body)
	}
	learned, err := portal.CreateFaqWithResponse(ctx, "support", nil, api.FaqCreate{Question: "When?", Answer: "Now.", Labels: &[]string{"time"}})
	if err != nil || learned.JSON201 == nil || learned.JSON201.Labels[0] != "time" {
		t.Fatalf("%v, %s", err, learned.Body)
	}
	started, err := portal.StartConversationWithResponse(ctx, nil, api.ConversationStart{BotID: new("support")})
	if err != nil || started.JSON201 == nil || started.JSON201.MessageID != nil {
		t.Fatalf("%v, %s", err, started.Body)
	}
	id := started.JSON201.ConversationID
	asked, err := portal.CreateCompletionWithResponse(ctx, "support", nil, api.CompletionCreate{
		Conversation: nullable.NewNullableWithValue(id.String()),
		Message:      api.CompletionMessage{Content: "When?"},
	})
	if err != nil || asked.JSON200 == nil || asked.JSON200.Content != "Now." || asked.JSON200.FinishReason != api.FinishReasonStop || !asked.JSON200.Usage.IsNull() {
		t.Fatalf("%v, %s", err, asked.Body)
	}
	sent, err := portal.SendMessageWithResponse(ctx, id.String(), &api.SendMessageParams{IdempotencyKey: new("k")}, api.MessageSend{Content: new(api.MessageContent("When?"))})
	if err != nil || sent.JSON201 == nil || sent.JSON201.Seq != 3 {
		t.Fatalf("%v, %s", err, sent.Body)
	}
	eventually(t, "the question is answered", func() bool {
		history, err := portal.GetHistoryWithResponse(ctx, id.String(), &api.GetHistoryParams{AfterSeq: new(sent.JSON201.Seq)})
		return err == nil && len(history.JSON200.Messages) == 1
	})
	messages, err := portal.ListMessagesWithResponse(ctx, &api.ListMessagesParams{Conversation: new(id.String()), PageSize: new(1)})
	if err != nil || messages.JSON200 == nil || len(messages.JSON200.Results) != 1 || messages.JSON200.NextCursor.IsNull() || !messages.JSON200.Previous.IsNull() {
		t.Fatalf("%v, %s", err, messages.Body)
	}
	shown, err := portal.GetConversationWithResponse(ctx, id.String())
	if err != nil || shown.JSON200 == nil || shown.JSON200.LastMessage.MustGet().Seq != 4 {
		t.Fatalf("%v, %s", err, shown.Body)
	}
	changed, err := portal.UpdateConversationWithResponse(ctx, id.String(), api.ConversationUpdate{Status: new(api.ConversationStatusArchived)})
	if err != nil || changed.JSON200 == nil || changed.JSON200.Status != api.ConversationStatusArchived {
		t.Fatalf("%v, %s", err, changed.Body)
	}
	gone, err := portal.DeleteConversationWithResponse(ctx, id.String())
	if err != nil || gone.StatusCode() != http.StatusNoContent {
		t.Fatalf("%v, %s", err, gone.Body)
	}
	missing, err := portal.GetConversationWithResponse(ctx, id.String())
	if err != nil || missing.ApplicationProblemJSON404 == nil || missing.ApplicationProblemJSON404.Error != api.ProblemCodeNotFound {
		t.Fatalf("%v, %s", err, missing.Body)
	}
}
