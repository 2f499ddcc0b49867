package httpapi

import (
	"context"
	"strconv"

	"github.com/oapi-codegen/nullable"

	"parley/internal/apperr"
)

// page is one page of a list that is paged by number.
type page struct{ number, size int }

// pageOf reads the parameters, which the contract middleware has given their
// defaults and bounds.
func pageOf(number, size *int) page { return page{number: deref(number), size: deref(size)} }

func (p page) offset() int { return (p.number - 1) * p.size }

// check refuses a page beyond the end; page 1 of nothing is none.
func (p page) check(count int64) error {
	if p.number > 1 && int64(p.offset()) >= count {
		return apperr.New(apperr.NotFound, "There is no such page.")
	}
	return nil
}

// links are the addresses of the pages beside this one.
func (p page) links(ctx context.Context, count int64) (next, previous nullable.Nullable[string]) {
	next, previous = nullable.NewNullNullable[string](), nullable.NewNullNullable[string]()
	if int64(p.offset()+p.size) < count {
		next.Set(linkTo(ctx, "page", strconv.Itoa(p.number+1)))
	}
	if p.number > 1 {
		previous.Set(linkTo(ctx, "page", strconv.Itoa(p.number-1)))
	}
	return next, previous
}

// linkTo is the request's own address with another value of one parameter.
func linkTo(ctx context.Context, parameter, value string) string {
	address := *callOf(ctx).url
	query := address.Query()
	query.Set(parameter, value)
	address.RawQuery = query.Encode()
	return address.String()
}

// cursorLink is a cursor and the address of its page; null where there is none.
func cursorLink(ctx context.Context, cursor string) (link, value nullable.Nullable[string]) {
	if cursor == "" {
		return nullable.NewNullNullable[string](), nullable.NewNullNullable[string]()
	}
	return nullable.NewNullableWithValue(linkTo(ctx, "cursor", cursor)), nullable.NewNullableWithValue(cursor)
}
