package httpapi

import (
	"context"
	"strconv"

	"github.com/oapi-codegen/nullable"

	"parley/internal/apperr"
	"parley/internal/httpapi/contract"
)

// page is a page of a list that is paged by number.
type page struct{ number, size int }

// pageOf returns the page of the parameters, which validation has filled with their defaults.
func pageOf(number, size *int) page { return page{number: deref(number), size: deref(size)} }

func (p page) offset() int { return (p.number - 1) * p.size }

// numberedList is a list that is paged by number. Generated types of such lists convert from it.
type numberedList[Item any] struct {
	Count          int64
	Next, Previous nullable.Nullable[string]
	Results        []Item
}

// toAPIList returns a page of a list with count rows. A page beyond the end is a NotFound error;
// page 1 of an empty list is not.
func toAPIList[Row, Item any](ctx context.Context, p page, rows []Row, count int64, convert func(Row) Item) (numberedList[Item], error) {
	if p.number > 1 && int64(p.offset()) >= count {
		return numberedList[Item]{}, apperr.New(apperr.NotFound, "There is no such page.")
	}
	list := numberedList[Item]{
		Count:    count,
		Next:     nullable.NewNullNullable[string](),
		Previous: nullable.NewNullNullable[string](),
		Results:  each(rows, convert),
	}
	if int64(p.offset()+p.size) < count {
		list.Next.Set(linkTo(ctx, "page", strconv.Itoa(p.number+1)))
	}
	if p.number > 1 {
		list.Previous.Set(linkTo(ctx, "page", strconv.Itoa(p.number-1)))
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
