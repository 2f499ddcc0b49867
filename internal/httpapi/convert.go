package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/inbox"
	"parley/internal/jsontext"
)

const mustBeTime = "must be an RFC 3339 time"

// fromAPITime parses a time in a query parameter; nil stays nil.
func fromAPITime(parameter string, text *string) (*time.Time, error) {
	if text == nil {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339Nano, *text)
	if err != nil {
		return nil, apperr.Parameter(parameter, mustBeTime)
	}
	return &t, nil
}

// givenID returns the ID that a caller with the scope admin gives a new object, or uuid.Nil.
func givenID(ctx context.Context, text *string) (uuid.UUID, error) {
	if text == nil {
		return uuid.Nil, nil
	}
	if !auth.PrincipalOf(ctx).Has(auth.Admin) {
		return uuid.Nil, apperr.New(apperr.Forbidden, "Only the scope admin can give an object its id. Leave out the field id.")
	}
	id, err := uuid.Parse(*text)
	if err != nil || id == uuid.Nil {
		return uuid.Nil, apperr.Field(apperr.InvalidRequest, "/id", "must be a UUID other than the nil UUID")
	}
	return id, nil
}

// orNull converts a pointer to a nullable field; nil becomes null.
func orNull[T any](value *T) nullable.Nullable[T] {
	if value == nil {
		return nullable.NewNullNullable[T]()
	}
	return nullable.NewNullableWithValue(*value)
}

// textOrNull converts an optional text; an empty one becomes null.
func textOrNull(text string) nullable.Nullable[string] { return orNull(orAbsent(text)) }

func timeOrNull(t *time.Time) nullable.Nullable[string] {
	if t == nil {
		return nullable.NewNullNullable[string]()
	}
	return nullable.NewNullableWithValue(jsontext.FormatTime(*t))
}

// rawOrNull converts free JSON to a nullable field; nil becomes null.
func rawOrNull(raw json.RawMessage) nullable.Nullable[json.RawMessage] {
	if raw == nil {
		return nullable.NewNullNullable[json.RawMessage]()
	}
	return nullable.NewNullableWithValue(raw)
}

// deref returns the value of an optional field, or the zero value without one.
func deref[T any](value *T) T {
	if value == nil {
		var zero T
		return zero
	}
	return *value
}

// list decodes a column with a JSON list. NULL is the empty list.
func list[T any](raw json.RawMessage) ([]T, error) {
	items := []T{}
	if raw == nil {
		return items, nil
	}
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, fmt.Errorf("decode a stored list: %w", err)
	}
	return items, nil
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
		CreatedAt:         jsontext.FormatTime(row.CreatedAt),
		UpdatedAt:         jsontext.FormatTime(row.UpdatedAt),
	}
}

// fromAPIScript returns nil if the script is absent or null.
func fromAPIScript(field nullable.Nullable[openapi.Script]) *bot.Script {
	script, err := field.Get()
	if err != nil {
		return nil
	}
	return &bot.Script{Rules: each(script.Rules, func(rule openapi.ScriptRule) bot.ScriptRule {
		return bot.ScriptRule{
			Match:   deref(rule.Match),
			Deltas:  rule.Deltas,
			DelayMS: deref(rule.DelayMs),
			Suggestions: each(deref(rule.Suggestions), func(suggestion openapi.Suggestion) bot.Suggestion {
				return bot.Suggestion{Text: suggestion.Text, Context: deref(suggestion.Context)}
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
		CreatedAt: jsontext.FormatTime(row.CreatedAt),
		UpdatedAt: jsontext.FormatTime(row.UpdatedAt),
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
		CreatedAt:      jsontext.FormatTime(row.CreatedAt),
		UpdatedAt:      jsontext.FormatTime(row.UpdatedAt),
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

func toAPIContact(row inbox.Contact) openapi.Contact {
	inboxes := make([]openapi.NamedReference, len(row.InboxIDs))
	for i, id := range row.InboxIDs {
		inboxes[i] = openapi.NamedReference{ID: id, Name: row.InboxNames[i]}
	}
	return openapi.Contact{
		ID:            row.ID,
		Name:          row.Name,
		Avatar:        textOrNull(row.Avatar),
		Email:         row.Email,
		PhoneNumber:   textOrNull(row.PhoneNumber),
		SourceID:      orNull(row.SourceID),
		Inboxes:       inboxes,
		QueryMetadata: rawOrNull(row.QueryMetadata),
		CreatedAt:     jsontext.FormatTime(row.CreatedAt),
	}
}

func toAPIKey(row db.ListAPIKeysRow) openapi.APIKey {
	key := row.ApiKey
	return openapi.APIKey{
		ID:         key.ID,
		Prefix:     key.Prefix,
		Name:       key.Name,
		User:       row.UserName,
		Scopes:     each(key.Scopes, func(scope string) openapi.Scope { return openapi.Scope(scope) }),
		ExpiresAt:  timeOrNull(key.ExpiresAt),
		LastUsedAt: timeOrNull(key.LastUsedAt),
		CreatedAt:  jsontext.FormatTime(key.CreatedAt),
		RateLimits: openapi.KeyRateLimits{
			Messages: numberOrNull(key.MessagesLimit), History: numberOrNull(key.HistoryLimit), List: numberOrNull(key.ListLimit),
		},
	}
}

func numberOrNull(number *int32) nullable.Nullable[int] {
	if number == nil {
		return nullable.NewNullNullable[int]()
	}
	return nullable.NewNullableWithValue(int(*number))
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
		CreatedAt:  jsontext.FormatTime(row.AuditEvent.CreatedAt),
	}
	if row.AuditEvent.UserID != nil && row.UserName != nil {
		event.User.Set(openapi.AuditActor{ID: *row.AuditEvent.UserID, Name: *row.UserName})
	}
	return event
}

func toAPIScopes(scopes []auth.Scope) []openapi.Scope {
	return each(scopes, func(scope auth.Scope) openapi.Scope { return openapi.Scope(scope) })
}

// each converts a list.
func each[From, To any](rows []From, convert func(From) To) []To {
	converted := make([]To, len(rows))
	for i, row := range rows {
		converted[i] = convert(row)
	}
	return converted
}

// eachOrError converts a list. It stops at the first item that cannot be converted.
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
