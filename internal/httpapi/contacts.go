package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/httpapi/contract"
)

// contactHandlers implements the operations of contacts.
type contactHandlers struct{ chat *chat.Chat }

// ListContacts implements GET /api/contacts/.
func (h contactHandlers) ListContacts(ctx context.Context, request openapi.ListContactsRequestObject) (openapi.ListContactsResponseObject, error) {
	page := pageOf(request.Params.Page, request.Params.PageSize)
	rows, count, err := h.chat.ListContacts(ctx, auth.PrincipalOf(ctx).OrganizationID, request.Params.Query, page.size, page.offset())
	if err != nil {
		return nil, err
	}
	list, err := toAPIList(ctx, page, rows, count, toAPIContact)
	return openapi.ListContacts200JSONResponse(list), err
}

// CreateContact implements POST /api/contacts/.
func (h contactHandlers) CreateContact(ctx context.Context, request openapi.CreateContactRequestObject) (openapi.CreateContactResponseObject, error) {
	created, err := h.chat.CreateContact(ctx, auth.PrincipalOf(ctx).OrganizationID, chat.ContactFields{
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
	found, err := h.chat.GetContact(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ContactID)
	return openapi.GetContact200JSONResponse(toAPIContact(found)), err
}

// UpdateContact implements PATCH /api/contacts/{contactId}/.
func (h contactHandlers) UpdateContact(ctx context.Context, request openapi.UpdateContactRequestObject) (openapi.UpdateContactResponseObject, error) {
	updated, err := h.chat.UpdateContact(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ContactID, chat.ContactFields{
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
	err := h.chat.DeleteContact(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ContactID)
	return openapi.DeleteContact204Response{}, err
}
