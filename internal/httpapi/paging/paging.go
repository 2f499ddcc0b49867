// Package paging returns the pages of lists, with links to the adjacent ones.
package paging

import (
	"context"
	"strconv"

	"github.com/oapi-codegen/nullable"

	"parley/internal/apperr"
	"parley/internal/httpapi/contract"
)

// Page is a page of a list that is paged by number, or by the number of results before it.
type Page struct {
	Number, Size int
	skipped      *int // nil: paged by number
}

// Of returns the page of the parameters, which validation has filled with their defaults. skipped
// is nil if the list is paged by number.
func Of(number, size, skipped *int) Page {
	p := Page{Number: *number, Size: *size, skipped: skipped}
	if skipped != nil {
		p.Number = *skipped/p.Size + 1
	}
	return p
}

// Offset returns the number of results before the page.
func (p Page) Offset() int { return (p.Number - 1) * p.Size }

// Start returns the number of results before the page in either way of paging.
func (p Page) Start() int {
	if p.skipped != nil {
		return *p.skipped
	}
	return p.Offset()
}

// Read reads a page with a function that reads pages by number. A page by offset can overlap two of those, and is
// empty beyond the end.
func Read[Row any](p Page, read func(Page) ([]Row, int64, error)) ([]Row, int64, error) {
	rows, count, err := read(p)
	if p.skipped == nil {
		return rows, count, err
	}
	if p.Number > 1 && apperr.Is(err, apperr.NotFound) {
		_, count, err = read(Page{Number: 1, Size: 1})
		return nil, count, err
	}
	before := *p.skipped % p.Size // rows of the page that were skipped, too
	if err != nil || before == 0 {
		return rows, count, err
	}
	next, _, err := read(Page{Number: p.Number + 1, Size: p.Size})
	if apperr.Is(err, apperr.NotFound) {
		err = nil
	}
	return append(rows[min(before, len(rows)):], next[:min(before, len(next))]...), count, err
}

// List is a page of a list that is paged by number. Generated types of such lists convert from it.
type List[Item any] struct {
	Count          int64
	Next, Previous nullable.Nullable[string]
	Results        []Item
}

// NewList returns a page of a list with count rows. A page beyond the end is a NotFound error;
// page 1 of an empty list is not.
func NewList[Row, Item any](ctx context.Context, p Page, rows []Row, count int64, convert func(Row) Item) (List[Item], error) {
	if p.skipped == nil && p.Number > 1 && int64(p.Offset()) >= count {
		return List[Item]{}, apperr.New(apperr.NotFound, "There is no such page.")
	}
	list := List[Item]{
		Count:    count,
		Next:     nullable.NewNullNullable[string](),
		Previous: nullable.NewNullNullable[string](),
		Results:  make([]Item, len(rows)),
	}
	for i, row := range rows {
		list.Results[i] = convert(row)
	}
	parameter, offset, next, previous := "page", p.Start(), p.Number+1, p.Number-1
	if p.skipped != nil {
		parameter, next, previous = "offset", offset+p.Size, max(offset-p.Size, 0)
	}
	if int64(offset+p.Size) < count {
		list.Next.Set(linkTo(ctx, parameter, strconv.Itoa(next)))
	}
	if offset > 0 {
		list.Previous.Set(linkTo(ctx, parameter, strconv.Itoa(previous)))
	}
	return list, nil
}

// EndAt sets the offset at which the next page begins, for a page that has fewer results than its limit.
func (l *List[Item]) EndAt(ctx context.Context, offset int) {
	if int64(offset) < l.Count {
		l.Next.Set(linkTo(ctx, "offset", strconv.Itoa(offset)))
	}
}

// linkTo returns the URL of the request with a different value of one parameter.
func linkTo(ctx context.Context, parameter, value string) string {
	address := *contract.RequestOf(ctx).URL
	query := address.Query()
	query.Set(parameter, value)
	if parameter == "offset" {
		query.Del("page")
	}
	address.RawQuery = query.Encode()
	return address.String()
}

// CursorLink returns a cursor and the URL of its page; both are null without a cursor.
func CursorLink(ctx context.Context, cursor string) (link, value nullable.Nullable[string]) {
	if cursor == "" {
		return nullable.NewNullNullable[string](), nullable.NewNullNullable[string]()
	}
	return nullable.NewNullableWithValue(linkTo(ctx, "cursor", cursor)), nullable.NewNullableWithValue(cursor)
}
