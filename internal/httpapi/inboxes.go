package httpapi

import (
	"context"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/httpapi/paging"
	"parley/internal/inbox"
)

// inboxHandlers implements the operations of inboxes.
type inboxHandlers struct{ inboxes *inbox.Inboxes }

// ListInboxes implements GET /api/inboxes/.
func (h inboxHandlers) ListInboxes(ctx context.Context, request openapi.ListInboxesRequestObject) (openapi.ListInboxesResponseObject, error) {
	at := paging.Of(request.Params.Page, request.Params.PageSize, request.Params.Offset)
	rows, count, err := paging.Read(at, func(p paging.Page) ([]db.ListInboxesRow, int64, error) {
		return h.inboxes.List(ctx, auth.PrincipalOf(ctx).OrganizationID, p.Size, p.Offset())
	})
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, rows, count, toAPIInbox)
	return openapi.ListInboxes200JSONResponse(list), err
}

// GetInbox implements GET /api/inboxes/{inboxId}/.
func (h inboxHandlers) GetInbox(ctx context.Context, request openapi.GetInboxRequestObject) (openapi.GetInboxResponseObject, error) {
	found, err := h.inboxes.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.InboxID)
	return openapi.GetInbox200JSONResponse(toAPIInbox(found)), err
}
