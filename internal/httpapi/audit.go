package httpapi

import (
	"cmp"
	"context"

	"parley/gen/openapi"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/records"
)

// The days of a list that names none: all of them.
const firstDay, lastDay = "0001-01-01", "9999-12-31"

// ListAuditEvents implements GET /api/audit-events/.
func (a *API) ListAuditEvents(ctx context.Context, request openapi.ListAuditEventsRequestObject) (openapi.ListAuditEventsResponseObject, error) {
	params := request.Params
	days, err := records.ParseDays(cmp.Or(deref(params.StartDate), firstDay), cmp.Or(deref(params.EndDate), lastDay), deref(params.Timezone))
	if err != nil {
		return nil, err
	}
	filter := audit.Filter{Action: audit.Action(deref(params.Action))}
	filter.Since, filter.Before = days.Span()
	page := pageOf(params.Page, params.PageSize)
	rows, count, err := a.Audit.List(ctx, auth.PrincipalOf(ctx).OrganizationID, filter, page.size, page.offset())
	if err != nil {
		return nil, err
	}
	if err := page.check(count); err != nil {
		return nil, err
	}
	next, previous := page.links(ctx, count)
	return openapi.ListAuditEvents200JSONResponse{Count: count, Next: next, Previous: previous, Results: each(rows, toAPIAuditEvent)}, nil
}
