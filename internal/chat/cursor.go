package chat

import (
	"encoding/base64"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
)

// order is what a list is sorted by, the newest first. A cursor tells its order: in
// a list of another one it is as bad as any.
type order string

const (
	bySeq      order = ""  // the messages of one conversation
	byTime     order = "t" // messages of all conversations
	byActivity order = "a" // conversations
	byCreation order = "c" // conversations
)

// place is where a page begins: below it going on, above it going back. It is a seq
// in one conversation, and a time and an id elsewhere.
type place struct {
	order   order
	isFirst bool // above the newest
	isBack  bool
	seq     int64
	time    time.Time
	id      uuid.UUID
}

// endOfTime is later than anything.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	goingOn   = "n"
	goingBack = "p"
)

func (p place) cursor() string {
	text := goingOn + string(p.order) + "."
	if p.isBack {
		text = goingBack + string(p.order) + "."
	}
	if p.order == bySeq {
		text += strconv.FormatInt(p.seq, 10)
	} else {
		text += strconv.FormatInt(p.time.UnixMicro(), 10) + "." + p.id.String()
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// parseCursor reads a cursor of a list in that order; an empty one is the first
// page's.
func parseCursor(cursor string, in order) (place, error) {
	at := place{order: in}
	if cursor == "" {
		at.isFirst, at.seq, at.time, at.id = true, math.MaxInt64, endOfTime, uuid.Max
		return at, nil
	}
	bad := apperr.New(apperr.NotFound, "There is no such cursor.")
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return place{}, bad
	}
	head, key, _ := strings.Cut(string(text), ".")
	at.isBack = head == goingBack+string(in)
	if !at.isBack && head != goingOn+string(in) {
		return place{}, bad
	}
	number, id, hasID := strings.Cut(key, ".")
	value, err := strconv.ParseInt(number, 10, 64)
	if err != nil || value < 1 || value > math.MaxInt64/2 || hasID == (in == bySeq) {
		return place{}, bad
	}
	if in == bySeq {
		at.seq = value
		return at, nil
	}
	if at.time = time.UnixMicro(value); at.time.After(endOfTime) {
		return place{}, bad
	}
	if at.id, err = uuid.Parse(id); err != nil {
		return place{}, bad
	}
	return at, nil
}

// pageOf makes a page, newest first, of rows that were read from a place in its
// direction, where there may be more, and the cursors of the pages beside it; empty
// where there is none.
func pageOf[T any](page []T, hasMore bool, at place, placeOf func(T) place) (newestFirst []T, next, previous string) {
	if len(page) == 0 {
		return page, "", ""
	}
	if at.isBack {
		slices.Reverse(page)
	}
	// Where one came from there is more, unless that was the first page.
	if hasMore || at.isBack {
		next = placeOf(page[len(page)-1]).cursor()
	}
	if (hasMore && at.isBack) || (!at.isFirst && !at.isBack) {
		newest := placeOf(page[0])
		newest.isBack = true
		previous = newest.cursor()
	}
	return page, next, previous
}
