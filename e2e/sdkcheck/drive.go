package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/oapi-codegen/nullable"
	openapi "github.com/oapi-codegen/runtime/types"

	"parley/client"
	api "parley/gen/client"
)

// reply is the reply of the accounts' chatbots.
const reply = "Good day, 世界."

// driveGo runs the scenario with the Go SDK. The Python and TypeScript versions are in scenario/.
func driveGo(ctx context.Context, _ string, with account, export string) error {
	sdk, err := client.New(with.base, client.WithKey(with.key))
	if err != nil {
		return err
	}
	s := goScenario{sdk, with.bot}
	id, err := s.converse(ctx)
	if err != nil {
		return err
	}
	return errors.Join(s.pageInbox(ctx, id), s.readRecords(ctx, export), s.exceedLimit(ctx))
}

// goScenario is the scenario with the Go SDK and one chatbot.
type goScenario struct {
	*client.Client
	bot string
}

// converse starts a conversation, sends a message, repeats it, and streams a reply. It returns the
// conversation's id.
func (s goScenario) converse(ctx context.Context) (string, error) {
	started, err := s.StartConversationWithResponse(ctx, nil, api.ConversationStart{BotID: &s.bot, InitialMessage: new("Hello")})
	if err != nil || started.JSON201 == nil {
		return "", fmt.Errorf("start: %w", errors.Join(err, errors.New(started.Status())))
	}
	id := started.JSON201.ConversationID.String()
	if err := s.sendTwice(ctx, id); err != nil {
		return "", err
	}
	text, _, err := client.ReadReply(s.CompletionEvents(ctx, s.bot, nil, client.CompletionCreate{
		Conversation: nullable.NewNullableWithValue(id),
		Message:      client.CompletionMessage{Content: "And?"},
	}))
	if err != nil || text != reply {
		return "", fmt.Errorf("stream %q: %w", text, err)
	}
	history, err := s.GetHistoryWithResponse(ctx, id, nil)
	if err != nil || history.JSON200 == nil || len(history.JSON200.Messages) != 6 || history.JSON200.Messages[5].Content != text {
		return "", fmt.Errorf("history after %q: %w", text, errors.Join(err, errors.New(history.Status())))
	}
	return id, nil
}

// sendTwice checks that an Idempotency-Key returns the first answer to the same body, and refuses
// another body.
func (s goScenario) sendTwice(ctx context.Context, id string) error {
	params := &api.SendMessageParams{IdempotencyKey: new("once")}
	send := func(text string) (*api.SendMessageResponse, error) {
		return s.SendMessageWithResponse(ctx, id, params, api.MessageSend{Content: new(api.MessageContent(text))})
	}
	sent, err := send("More")
	if err != nil {
		return err
	}
	repeated, err := send("More")
	if err != nil {
		return err
	}
	if sent.JSON201 == nil || repeated.JSON201 == nil || sent.JSON201.MessageID != repeated.JSON201.MessageID {
		return fmt.Errorf("send and repeat: %s, %s", sent.Status(), repeated.Status())
	}
	other, err := send("Less")
	if err != nil || other.ApplicationProblemJSON422 == nil {
		return fmt.Errorf("repeat with another body: %w", errors.Join(err, errors.New(other.Status())))
	}
	return nil
}

// pageInbox reads the inbox page by page, by cursor.
func (s goScenario) pageInbox(ctx context.Context, id string) error {
	if _, err := s.StartConversationWithResponse(ctx, nil, api.ConversationStart{BotID: &s.bot}); err != nil {
		return err
	}
	seen := map[string]bool{}
	for params := (&api.ListInboxConversationsParams{PageSize: new(1)}); ; {
		page, err := s.ListInboxConversationsWithResponse(ctx, params)
		if err != nil || page.JSON200 == nil {
			return fmt.Errorf("inbox: %w", errors.Join(err, errors.New(page.Status())))
		}
		for _, conversation := range page.JSON200.Results {
			seen[conversation.ID.String()] = true
		}
		if page.JSON200.NextCursor.IsNull() {
			break
		}
		params.Cursor = new(page.JSON200.NextCursor.MustGet())
	}
	if len(seen) != 2 || !seen[id] {
		return fmt.Errorf("inbox: got %d conversations, want 2", len(seen))
	}
	return nil
}

// readRecords reads the records page by page, by number, and exports them.
func (s goScenario) readRecords(ctx context.Context, export string) error {
	from, to := openapi.Date{Time: time.Now().UTC().AddDate(0, 0, -1)}, openapi.Date{Time: time.Now().UTC().AddDate(0, 0, 1)}
	for page, found, count := 1, 0, 1; found < count; page++ {
		listed, err := s.ListRecordsWithResponse(ctx, s.bot, &api.ListRecordsParams{StartDate: from, EndDate: to, Page: &page, PageSize: new(2)})
		if err != nil || listed.JSON200 == nil || listed.JSON200.Count != 3 || len(listed.JSON200.Results) == 0 {
			return fmt.Errorf("records: %w", errors.Join(err, errors.New(listed.Status())))
		}
		count = int(listed.JSON200.Count)
		for _, record := range listed.JSON200.Results {
			if found++; record.OutputMessage != reply {
				return fmt.Errorf("records: got the output %q, want %q", record.OutputMessage, reply)
			}
		}
	}
	exported, err := s.ExportRecordsWithResponse(ctx, s.bot, &api.ExportRecordsParams{StartDate: from, EndDate: to})
	if err != nil {
		return err
	}
	return os.WriteFile(export, exported.Body, 0o644)
}

// exceedLimit lists conversations until the rate limit refuses it.
func (s goScenario) exceedLimit(ctx context.Context) error {
	for range 20 {
		listed, err := s.ListConversationsWithResponse(ctx, nil)
		if err != nil {
			return err
		}
		if listed.ApplicationProblemJSON429 != nil {
			seconds, err := strconv.Atoi(listed.HTTPResponse.Header.Get("Retry-After"))
			if err != nil || seconds < 1 {
				return fmt.Errorf("rate limit: Retry-After is %d: %w", seconds, err)
			}
			return nil
		}
	}
	return errors.New("rate limit: 20 requests were not refused")
}
