package httpapi

import (
	"context"

	"parley/gen/openapi"
	"parley/internal/auth"
)

// ListInboxes implements GET /api/inboxes/.
func (a *API) ListInboxes(ctx context.Context, request openapi.ListInboxesRequestObject) (openapi.ListInboxesResponseObject, error) {
	page := pageOf(request.Params.Page, request.Params.PageSize)
	rows, count, err := a.Chat.ListInboxes(ctx, auth.PrincipalOf(ctx).OrganizationID, page.size, page.offset())
	if err != nil {
		return nil, err
	}
	if err := page.check(count); err != nil {
		return nil, err
	}
	next, previous := page.links(ctx, count)
	return openapi.ListInboxes200JSONResponse{Count: count, Next: next, Previous: previous, Results: each(rows, toAPIInbox)}, nil
}
