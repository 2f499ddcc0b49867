package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/inbox"
)

// inboxHandlers implements the operations of inboxes.
type inboxHandlers struct{ inboxes *inbox.Inboxes }

// ListInboxes implements GET /api/inboxes/.
func (h inboxHandlers) ListInboxes(ctx context.Context, request openapi.ListInboxesRequestObject) (openapi.ListInboxesResponseObject, error) {
	page := pageOf(request.Params.Page, request.Params.PageSize)
	rows, count, err := h.inboxes.List(ctx, auth.PrincipalOf(ctx).OrganizationID, page.size, page.offset())
	if err != nil {
		return nil, err
	}
	list, err := toAPIList(ctx, page, rows, count, toAPIInbox)
	return openapi.ListInboxes200JSONResponse(list), err
}
