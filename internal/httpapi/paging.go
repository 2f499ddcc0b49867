package httpapi

import (
	"context"
	"strconv"

	"github.com/oapi-codegen/nullable"

	"parley/internal/apperr"
	"parley/internal/httpapi/contract"
)

// page is a page of a list that is paged by number, or by the number of results before it.
type page struct {
	number, size int
	skipped      *int // nil: paged by number
}

// pageOf returns the page of the parameters, which validation has filled with their defaults.
func pageOf(number, size, skipped *int) page {
	p := page{number: deref(number), size: deref(size), skipped: skipped}
	if skipped != nil {
		p.number = *skipped/p.size + 1
	}
	return p
}

func (p page) offset() int { return (p.number - 1) * p.size }

// readPage reads a page with a function that reads pages by number. A page by offset can lie across
// two of those, and is empty beyond the end.
func readPage[Row any](p page, read func(page) ([]Row, int64, error)) ([]Row, int64, error) {
	rows, count, err := read(p)
	if p.skipped == nil {
		return rows, count, err
	}
	if p.number > 1 && apperr.Is(err, apperr.NotFound) {
		_, count, err = read(page{number: 1, size: 1})
		return nil, count, err
	}
	before := *p.skipped % p.size // rows of the page that were skipped, too
	if err != nil || before == 0 {
		return rows, count, err
	}
	next, _, err := read(page{number: p.number + 1, size: p.size})
	if apperr.Is(err, apperr.NotFound) {
		err = nil
	}
	return append(rows[min(before, len(rows)):], next[:min(before, len(next))]...), count, err
}

// numberedList is a list that is paged by number. Generated types of such lists convert from it.
type numberedList[Item any] struct {
	Count          int64
	Next, Previous nullable.Nullable[string]
	Results        []Item
}

// toAPIList returns a page of a list with count rows. A page beyond the end is a NotFound error;
// page 1 of an empty list is not.
func toAPIList[Row, Item any](ctx context.Context, p page, rows []Row, count int64, convert func(Row) Item) (numberedList[Item], error) {
	if p.skipped == nil && p.number > 1 && int64(p.offset()) >= count {
		return numberedList[Item]{}, apperr.New(apperr.NotFound, "There is no such page.")
	}
	list := numberedList[Item]{
		Count:    count,
		Next:     nullable.NewNullNullable[string](),
		Previous: nullable.NewNullNullable[string](),
		Results:  each(rows, convert),
	}
	parameter, offset, next, previous := "page", p.offset(), p.number+1, p.number-1
	if p.skipped != nil {
		parameter, offset, next, previous = "offset", *p.skipped, *p.skipped+p.size, max(*p.skipped-p.size, 0)
	}
	if int64(offset+p.size) < count {
		list.Next.Set(linkTo(ctx, parameter, strconv.Itoa(next)))
	}
	if offset > 0 {
		list.Previous.Set(linkTo(ctx, parameter, strconv.Itoa(previous)))
	}
	return list, nil
}

// linkTo returns the URL of the request with a different value of one parameter.
func linkTo(ctx context.Context, parameter, value string) string {
	address := *contract.RequestOf(ctx).URL
	query := address.Query()
	query.Set(parameter, value)
	address.RawQuery = query.Encode()
	return address.String()
}

// cursorLink returns a cursor and the URL of its page; both are null without a cursor.
func cursorLink(ctx context.Context, cursor string) (link, value nullable.Nullable[string]) {
	if cursor == "" {
		return nullable.NewNullNullable[string](), nullable.NewNullNullable[string]()
	}
	return nullable.NewNullableWithValue(linkTo(ctx, "cursor", cursor)), nullable.NewNullableWithValue(cursor)
}
