package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/chat"
)

// ListContacts implements GET /api/contacts/.
func (a *API) ListContacts(ctx context.Context, request openapi.ListContactsRequestObject) (openapi.ListContactsResponseObject, error) {
	page := pageOf(request.Params.Page, request.Params.PageSize)
	rows, count, err := a.Chat.ListContacts(ctx, auth.PrincipalOf(ctx).OrganizationID, request.Params.Query, page.size, page.offset())
	if err != nil {
		return nil, err
	}
	if err := page.check(count); err != nil {
		return nil, err
	}
	next, previous := page.links(ctx, count)
	return openapi.ListContacts200JSONResponse{Count: count, Next: next, Previous: previous, Results: each(rows, toAPIContact)}, nil
}

// CreateContact implements POST /api/contacts/.
func (a *API) CreateContact(ctx context.Context, request openapi.CreateContactRequestObject) (openapi.CreateContactResponseObject, error) {
	made, err := a.Chat.CreateContact(ctx, auth.PrincipalOf(ctx).OrganizationID, chat.ContactFields{
		Name:          &request.Body.Name,
		Avatar:        request.Body.Avatar,
		Email:         request.Body.Email,
		PhoneNumber:   request.Body.PhoneNumber,
		SourceID:      request.Body.SourceID,
		InboxIDs:      deref(request.Body.Inboxes),
		QueryMetadata: deref(request.Body.QueryMetadata),
	}, onceFor(ctx, request.Params.IdempotencyKey))
	if err != nil {
		return nil, err
	}
	return openapi.CreateContact201JSONResponse(toAPIContact(made)), nil
}

// GetContact implements GET /api/contacts/{contactId}/.
func (a *API) GetContact(ctx context.Context, request openapi.GetContactRequestObject) (openapi.GetContactResponseObject, error) {
	found, err := a.Chat.GetContact(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ContactID)
	if err != nil {
		return nil, err
	}
	return openapi.GetContact200JSONResponse(toAPIContact(found)), nil
}

// UpdateContact implements PATCH /api/contacts/{contactId}/.
func (a *API) UpdateContact(ctx context.Context, request openapi.UpdateContactRequestObject) (openapi.UpdateContactResponseObject, error) {
	changed, err := a.Chat.UpdateContact(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ContactID, chat.ContactFields{
		Name:          request.Body.Name,
		Avatar:        request.Body.Avatar,
		Email:         request.Body.Email,
		PhoneNumber:   request.Body.PhoneNumber,
		SourceID:      request.Body.SourceID,
		InboxIDs:      deref(request.Body.Inboxes),
		QueryMetadata: deref(request.Body.QueryMetadata),
	})
	if err != nil {
		return nil, err
	}
	return openapi.UpdateContact200JSONResponse(toAPIContact(changed)), nil
}

// DeleteContact implements DELETE /api/contacts/{contactId}/.
func (a *API) DeleteContact(ctx context.Context, request openapi.DeleteContactRequestObject) (openapi.DeleteContactResponseObject, error) {
	err := a.Chat.DeleteContact(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ContactID)
	return openapi.DeleteContact204Response{}, err
}
