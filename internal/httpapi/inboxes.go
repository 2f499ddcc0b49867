package httpapi

import (
	"context"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/auth"
	"parley/internal/inbox"
)

// inboxHandlers implements the operations of inboxes.
type inboxHandlers struct{ inboxes *inbox.Inboxes }

// ListInboxes implements GET /api/inboxes/.
func (h inboxHandlers) ListInboxes(ctx context.Context, request openapi.ListInboxesRequestObject) (openapi.ListInboxesResponseObject, error) {
	at := pageOf(request.Params.Page, request.Params.PageSize, request.Params.Offset)
	rows, count, err := readPage(at, func(p page) ([]db.ListInboxesRow, int64, error) {
		return h.inboxes.List(ctx, auth.PrincipalOf(ctx).OrganizationID, p.size, p.offset())
	})
	if err != nil {
		return nil, err
	}
	list, err := toAPIList(ctx, at, rows, count, toAPIInbox)
	return openapi.ListInboxes200JSONResponse(list), err
}
