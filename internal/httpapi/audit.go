package httpapi

import (
	"cmp"
	"context"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/httpapi/paging"
	"parley/internal/records"
)

// auditHandlers implements the operations of the audit trail.
type auditHandlers struct{ trail *audit.Trail }

// The default range of days covers all of them.
const firstDay, lastDay = "0001-01-01", "9999-12-31"

// ListAuditEvents implements GET /api/audit-events/.
func (h auditHandlers) ListAuditEvents(ctx context.Context, request openapi.ListAuditEventsRequestObject) (openapi.ListAuditEventsResponseObject, error) {
	params := request.Params
	days, err := records.ParseDays(cmp.Or(deref(params.StartDate), firstDay), cmp.Or(deref(params.EndDate), lastDay), deref(params.Timezone))
	if err != nil {
		return nil, err
	}
	filter := audit.Filter{Action: audit.Action(deref(params.Action))}
	filter.Since, filter.Before = days.Span()
	at := paging.Of(params.Page, params.PageSize, params.Offset)
	rows, count, err := paging.Read(at, func(p paging.Page) ([]db.ListAuditEventsRow, int64, error) {
		return h.trail.List(ctx, auth.PrincipalOf(ctx).OrganizationID, filter, p.Size, p.Offset())
	})
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, rows, count, toAPIAuditEvent)
	return openapi.ListAuditEvents200JSONResponse(list), err
}
