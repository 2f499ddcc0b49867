package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/paging"
	"parley/internal/inbox"
)

// contactHandlers implements the operations of contacts.
type contactHandlers struct {
	inboxes       *inbox.Inboxes
	conversations chat.Contacts
}

// ListContacts implements GET /api/contacts/.
func (h contactHandlers) ListContacts(ctx context.Context, request openapi.ListContactsRequestObject) (openapi.ListContactsResponseObject, error) {
	filter := inbox.ContactFilter{Search: request.Params.Query, InboxID: request.Params.Inbox}
	at := paging.Of(request.Params.Page, request.Params.PageSize, request.Params.Offset)
	rows, count, err := paging.Read(at, func(p paging.Page) ([]inbox.Contact, int64, error) {
		return h.inboxes.ListContacts(ctx, auth.PrincipalOf(ctx).OrganizationID, filter, p.Size, p.Offset())
	})
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, rows, count, toAPIContact)
	return openapi.ListContacts200JSONResponse(list), err
}

// CreateContact implements POST /api/contacts/.
func (h contactHandlers) CreateContact(ctx context.Context, request openapi.CreateContactRequestObject) (openapi.CreateContactResponseObject, error) {
	id, err := givenID(ctx, request.Body.ID)
	if err != nil {
		return nil, err
	}
	created, err := h.inboxes.CreateContact(ctx, auth.PrincipalOf(ctx).OrganizationID, inbox.ContactFields{
		ID:            id,
		Name:          &request.Body.Name,
		Avatar:        request.Body.Avatar,
		Email:         request.Body.Email,
		PhoneNumber:   request.Body.PhoneNumber,
		SourceID:      request.Body.SourceID,
		InboxIDs:      deref(request.Body.Inboxes),
		QueryMetadata: deref(request.Body.QueryMetadata),
	}, contract.IdempotencyKey(ctx, request.Params.IdempotencyKey))
	return openapi.CreateContact201JSONResponse(toAPIContact(created)), err
}

// GetContact implements GET /api/contacts/{contactId}/.
func (h contactHandlers) GetContact(ctx context.Context, request openapi.GetContactRequestObject) (openapi.GetContactResponseObject, error) {
	found, err := h.inboxes.GetContact(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ContactID)
	return openapi.GetContact200JSONResponse(toAPIContact(found)), err
}

// UpdateContact implements PATCH /api/contacts/{contactId}/.
func (h contactHandlers) UpdateContact(ctx context.Context, request openapi.UpdateContactRequestObject) (openapi.UpdateContactResponseObject, error) {
	updated, err := h.inboxes.UpdateContact(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ContactID, inbox.ContactFields{
		Name:          request.Body.Name,
		Avatar:        request.Body.Avatar,
		Email:         request.Body.Email,
		PhoneNumber:   request.Body.PhoneNumber,
		SourceID:      request.Body.SourceID,
		InboxIDs:      deref(request.Body.Inboxes),
		QueryMetadata: deref(request.Body.QueryMetadata),
	})
	return openapi.UpdateContact200JSONResponse(toAPIContact(updated)), err
}

// DeleteContact implements DELETE /api/contacts/{contactId}/.
func (h contactHandlers) DeleteContact(ctx context.Context, request openapi.DeleteContactRequestObject) (openapi.DeleteContactResponseObject, error) {
	err := h.inboxes.DeleteContact(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ContactID)
	return openapi.DeleteContact204Response{}, err
}

// ListContactConversations implements GET /api/contacts/{contactId}/conversations/.
func (h contactHandlers) ListContactConversations(ctx context.Context, request openapi.ListContactConversationsRequestObject) (openapi.ListContactConversationsResponseObject, error) {
	at := paging.Of(request.Params.Page, request.Params.PageSize, request.Params.Offset)
	page, err := h.conversations.Conversations(ctx, auth.PrincipalOf(ctx), request.ContactID, chat.ContactFilter{
		InboxID: request.Params.Inbox,
		Keyword: request.Params.Keyword,
		Limit:   at.Size,
		Offset:  at.Start(),
	})
	if err != nil {
		return nil, err
	}
	results, err := eachOrError(page.Conversations, toAPIConversation)
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, results, page.Total, func(result openapi.Conversation) openapi.Conversation { return result })
	if page.End < at.Start()+at.Size {
		list.EndAt(ctx, page.End)
	}
	return openapi.ListContactConversations200JSONResponse(list), err
}

// GetLatestConversation implements GET /api/contacts/{contactId}/conversations/latest/.
func (h contactHandlers) GetLatestConversation(ctx context.Context, request openapi.GetLatestConversationRequestObject) (openapi.GetLatestConversationResponseObject, error) {
	latest, err := h.conversations.Latest(ctx, auth.PrincipalOf(ctx), request.ContactID)
	if err != nil {
		return nil, err
	}
	conversation, err := toAPIConversation(latest)
	return openapi.GetLatestConversation200JSONResponse(conversation), err
}

// BroadcastMessage implements POST /api/contacts/broadcast-message/.
func (h contactHandlers) BroadcastMessage(ctx context.Context, request openapi.BroadcastMessageRequestObject) (openapi.BroadcastMessageResponseObject, error) {
	deliveries, err := h.conversations.Broadcast(ctx, auth.PrincipalOf(ctx), chat.Broadcast{
		Message:  request.Body.Message,
		Contacts: deref(request.Body.ContactIds),
		InboxID:  request.Body.InboxID,
		Excluded: deref(request.Body.ExcludeContactIds),
	}, contract.IdempotencyKey(ctx, request.Params.IdempotencyKey))
	if err != nil {
		return nil, err
	}
	result := openapi.BroadcastMessage200JSONResponse{Results: []openapi.BroadcastDelivery{}, Errors: []openapi.BroadcastError{}, TotalContacts: len(deliveries)}
	for _, to := range deliveries {
		if to.Refusal != "" {
			result.Errors = append(result.Errors, openapi.BroadcastError{ContactID: to.Contact, Error: to.Refusal})
			continue
		}
		result.Results = append(result.Results, openapi.BroadcastDelivery{
			ContactID: to.Contact, ConversationID: to.Conversation, MessageID: to.Message, Status: "success",
		})
	}
	result.SuccessCount, result.ErrorCount = len(result.Results), len(result.Errors)
	return result, nil
}
