package httpapi

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/chat"
)

// timeFormat is how the contract writes times: always six fraction digits and Z.
const timeFormat = "2006-01-02T15:04:05.000000Z"

func stamp(t time.Time) string { return t.UTC().Format(timeFormat) }

// fromAPITime reads a time that the validator has let through; found in the query
// where pointer is empty.
func fromAPITime(name, text string) (*time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return nil, apperr.Parameter(name, "must be a time as RFC 3339 has it")
	}
	return &t, nil
}

// orNull is a pointer as a field that is sent as null.
func orNull[T any](value *T) nullable.Nullable[T] {
	if value == nil {
		return nullable.NewNullNullable[T]()
	}
	return nullable.NewNullableWithValue(*value)
}

func stampOrNull(t *time.Time) nullable.Nullable[string] {
	if t == nil {
		return nullable.NewNullNullable[string]()
	}
	return nullable.NewNullableWithValue(stamp(*t))
}

func rawOrNull(raw json.RawMessage) nullable.Nullable[json.RawMessage] {
	if raw == nil {
		return nullable.NewNullNullable[json.RawMessage]()
	}
	return nullable.NewNullableWithValue(raw)
}

func deref[T any](value *T) T {
	if value == nil {
		var zero T
		return zero
	}
	return *value
}

// list reads a column that holds a list, nil for an empty one.
func list[T any](raw json.RawMessage) ([]T, error) {
	found := []T{}
	if raw == nil {
		return found, nil
	}
	if err := json.Unmarshal(raw, &found); err != nil {
		return nil, fmt.Errorf("read a stored list: %w", err)
	}
	return found, nil
}

func toAPIChatbot(row db.Bot) openapi.Chatbot {
	return openapi.Chatbot{
		ID:                row.ID,
		Slug:              row.Slug,
		Name:              row.Name,
		Description:       row.Description,
		Engine:            openapi.Engine(row.Engine),
		Script:            rawOrNull(row.Script),
		Model:             toAPIModel(row),
		Instructions:      row.Instructions,
		Greeting:          row.Greeting,
		UnanswerableReply: row.UnanswerableReply,
		IsDefault:         row.IsDefault,
		CreatedAt:         stamp(row.CreatedAt),
		UpdatedAt:         stamp(row.UpdatedAt),
	}
}

// fromAPIScript returns nil for none, absent or null.
func fromAPIScript(given nullable.Nullable[openapi.Script]) *bot.Script {
	if !given.IsSpecified() || given.IsNull() {
		return nil
	}
	return &bot.Script{Rules: each(given.MustGet().Rules, func(rule openapi.ScriptRule) bot.ScriptRule {
		return bot.ScriptRule{
			Match:   deref(rule.Match),
			Deltas:  rule.Deltas,
			DelayMS: deref(rule.DelayMs),
			Suggestions: each(deref(rule.Suggestions), func(one openapi.Suggestion) bot.Suggestion {
				return bot.Suggestion{Text: one.Text, Context: deref(one.Context)}
			}),
			FailAfter:   rule.FailAfter,
			SilentAfter: rule.SilentAfter,
		}
	})}
}

func toAPIFaq(row db.Faq) openapi.Faq {
	return openapi.Faq{
		ID:        row.ID,
		Question:  row.Question,
		Answer:    row.Answer,
		Labels:    row.Labels,
		CreatedAt: stamp(row.CreatedAt),
		UpdatedAt: stamp(row.UpdatedAt),
	}
}

func toAPIWebChat(row db.WebChat) openapi.WebChat {
	return openapi.WebChat{
		ID:             row.ID,
		Name:           row.Name,
		Chatbot:        row.BotID,
		Inbox:          row.InboxID,
		AccessType:     openapi.AccessType(row.AccessType),
		AllowedOrigins: row.AllowedOrigins,
		CreatedAt:      stamp(row.CreatedAt),
		UpdatedAt:      stamp(row.UpdatedAt),
	}
}

func toAPIInbox(row db.ListInboxesRow) openapi.Inbox {
	return openapi.Inbox{
		ID:                       row.Inbox.ID,
		Name:                     row.Inbox.Name,
		ChannelType:              openapi.ChannelType(row.Inbox.ChannelType),
		UnreadConversationsCount: row.Unread,
		Channel:                  openapi.NamedReference{ID: row.ChannelID, Name: row.ChannelName},
	}
}

func toAPIContact(row chat.Contact) openapi.Contact {
	return openapi.Contact{
		ID:            row.ID,
		Name:          row.Name,
		Avatar:        row.Avatar,
		Email:         row.Email,
		PhoneNumber:   row.PhoneNumber,
		SourceID:      orNull(row.SourceID),
		Inboxes:       row.InboxIDs,
		QueryMetadata: rawOrNull(row.QueryMetadata),
		CreatedAt:     stamp(row.CreatedAt),
	}
}

func toAPIKey(row db.ListAPIKeysRow) openapi.APIKey {
	key := row.ApiKey
	scopes := make([]openapi.Scope, len(key.Scopes))
	for i, scope := range key.Scopes {
		scopes[i] = openapi.Scope(scope)
	}
	return openapi.APIKey{
		ID:         key.ID,
		Prefix:     key.Prefix,
		Name:       key.Name,
		User:       row.UserName,
		Scopes:     scopes,
		ExpiresAt:  stampOrNull(key.ExpiresAt),
		LastUsedAt: stampOrNull(key.LastUsedAt),
		CreatedAt:  stamp(key.CreatedAt),
	}
}

func toAPIAuditEvent(row db.ListAuditEventsRow) openapi.AuditEvent {
	event := openapi.AuditEvent{
		ID:         row.AuditEvent.ID,
		Action:     openapi.AuditAction(row.AuditEvent.Action),
		ObjectType: openapi.AuditEventObjectType(row.AuditEvent.ObjectType),
		ObjectID:   row.AuditEvent.ObjectID,
		User:       nullable.NewNullNullable[openapi.AuditActor](),
		KeyID:      orNull(row.AuditEvent.KeyID),
		RequestID:  row.AuditEvent.RequestID,
		Address:    row.AuditEvent.Address,
		Details:    row.AuditEvent.Details,
		CreatedAt:  stamp(row.AuditEvent.CreatedAt),
	}
	if row.AuditEvent.UserID != nil && row.UserName != nil {
		event.User.Set(openapi.AuditActor{ID: *row.AuditEvent.UserID, Name: *row.UserName})
	}
	return event
}

func toAPIScopes(scopes []auth.Scope) []openapi.Scope {
	converted := make([]openapi.Scope, len(scopes))
	for i, scope := range scopes {
		converted[i] = openapi.Scope(scope)
	}
	return converted
}

// each converts a list.
func each[From, To any](rows []From, convert func(From) To) []To {
	converted := make([]To, len(rows))
	for i, row := range rows {
		converted[i] = convert(row)
	}
	return converted
}

// eachOrError converts a list whose items may fail to.
func eachOrError[From, To any](rows []From, convert func(From) (To, error)) ([]To, error) {
	converted := make([]To, len(rows))
	for i, row := range rows {
		var err error
		if converted[i], err = convert(row); err != nil {
			return nil, err
		}
	}
	return converted, nil
}
