package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/oapi-codegen/nullable"
	openapi "github.com/oapi-codegen/runtime/types"

	"parley/gen/client"
)

// reply is what the guests' chatbots say.
const reply = "Good day, 世界."

// driveGo is the scenario with gen/client. The Python and TypeScript ones are in
// scenario/.
func driveGo(ctx context.Context, _ string, as guest, export string) error {
	withKey := client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+as.key)
		return nil
	})
	c, err := client.NewClientWithResponses(as.base, withKey)
	if err != nil {
		return err
	}
	g := goGuest{c, as.bot}
	id, err := g.converse(ctx)
	if err != nil {
		return err
	}
	return errors.Join(g.page(ctx, id), g.records(ctx, export), g.limit(ctx))
}

// goGuest is a guest with the client.
type goGuest struct {
	*client.ClientWithResponses
	bot string
}

// converse starts a conversation, sends, and streams.
func (g goGuest) converse(ctx context.Context) (string, error) {
	started, err := g.StartConversationWithResponse(ctx, nil, client.ConversationStart{BotID: &g.bot, InitialMessage: new("Hello")})
	if err != nil || started.JSON201 == nil {
		return "", fmt.Errorf("start: %w", errors.Join(err, errors.New(started.Status())))
	}
	id := started.JSON201.ConversationID.String()
	once := &client.SendMessageParams{IdempotencyKey: new("once")}
	send := func(text string) (*client.SendMessageResponse, error) {
		return g.SendMessageWithResponse(ctx, id, once, client.MessageSend{Content: new(client.MessageContent(text))})
	}
	sent, err := send("More")
	if err != nil {
		return "", err
	}
	again, err := send("More")
	if err != nil {
		return "", err
	}
	if sent.JSON201 == nil || again.JSON201 == nil || sent.JSON201.MessageID != again.JSON201.MessageID {
		return "", fmt.Errorf("send and repeat: %s, %s", sent.Status(), again.Status())
	}
	other, err := send("Less")
	if err != nil || other.ApplicationProblemJSON422 == nil {
		return "", fmt.Errorf("another body: %w", errors.Join(err, errors.New(other.Status())))
	}
	text, err := g.stream(ctx, client.CompletionCreate{
		Conversation: nullable.NewNullableWithValue(id),
		Message:      client.CompletionMessage{Content: "And?"},
		IsStreaming:  new(true),
	})
	if err != nil {
		return "", fmt.Errorf("stream: %w", err)
	}
	history, err := g.GetHistoryWithResponse(ctx, id, nil)
	if err != nil || history.JSON200 == nil || len(history.JSON200.Messages) != 6 || history.JSON200.Messages[5].Content != text || text != reply {
		return "", fmt.Errorf("history after %q: %w", text, errors.Join(err, errors.New(history.Status())))
	}
	return id, nil
}

// stream joins the deltas of a completion.
func (g goGuest) stream(ctx context.Context, question client.CompletionCreate) (string, error) {
	answer, err := g.CreateCompletion(ctx, g.bot, nil, question)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var text strings.Builder
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var event client.CompletionEvent
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return "", err
		}
		text.WriteString(event.Content)
		if event.Done {
			return text.String(), nil
		}
	}
	return "", fmt.Errorf("%s, and no last event", answer.Status)
}

// page walks the inbox by cursor.
func (g goGuest) page(ctx context.Context, id string) error {
	if _, err := g.StartConversationWithResponse(ctx, nil, client.ConversationStart{BotID: &g.bot}); err != nil {
		return err
	}
	seen := map[string]bool{}
	for params := (&client.ListInboxConversationsParams{PageSize: new(1)}); ; {
		page, err := g.ListInboxConversationsWithResponse(ctx, params)
		if err != nil || page.JSON200 == nil {
			return fmt.Errorf("inbox: %w", errors.Join(err, errors.New(page.Status())))
		}
		for _, one := range page.JSON200.Results {
			seen[one.ID.String()] = true
		}
		if page.JSON200.NextCursor.IsNull() {
			break
		}
		params.Cursor = new(page.JSON200.NextCursor.MustGet())
	}
	if len(seen) != 2 || !seen[id] {
		return fmt.Errorf("the inbox has %d conversations", len(seen))
	}
	return nil
}

// records walks the records page by page, and exports them.
func (g goGuest) records(ctx context.Context, export string) error {
	from, to := openapi.Date{Time: time.Now().UTC().AddDate(0, 0, -1)}, openapi.Date{Time: time.Now().UTC().AddDate(0, 0, 1)}
	for page, found, count := 1, 0, 1; found < count; page++ {
		listed, err := g.ListRecordsWithResponse(ctx, g.bot, &client.ListRecordsParams{StartDate: from, EndDate: to, Page: &page, PageSize: new(2)})
		if err != nil || listed.JSON200 == nil || listed.JSON200.Count != 3 || len(listed.JSON200.Results) == 0 {
			return fmt.Errorf("records: %w", errors.Join(err, errors.New(listed.Status())))
		}
		count = int(listed.JSON200.Count)
		for _, one := range listed.JSON200.Results {
			if found++; one.OutputMessage != reply {
				return fmt.Errorf("a record of %q", one.OutputMessage)
			}
		}
	}
	exported, err := g.ExportRecordsWithResponse(ctx, g.bot, &client.ExportRecordsParams{StartDate: from, EndDate: to})
	if err != nil {
		return err
	}
	return os.WriteFile(export, exported.Body, 0o644)
}

// limit asks until it is too much.
func (g goGuest) limit(ctx context.Context) error {
	for range 20 {
		listed, err := g.ListConversationsWithResponse(ctx, nil)
		if err != nil {
			return err
		}
		if listed.ApplicationProblemJSON429 != nil {
			seconds, err := strconv.Atoi(listed.HTTPResponse.Header.Get("Retry-After"))
			if err != nil || seconds < 1 {
				return fmt.Errorf("Retry-After is %d: %w", seconds, err)
			}
			return nil
		}
	}
	return errors.New("nothing is too much")
}
