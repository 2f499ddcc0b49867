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

// order is the sort order of a list. All orders list the newest first. A cursor contains its order,
// and is invalid for a list in another order.
type order string

const (
	bySeq      order = ""  // the messages of one conversation
	byTime     order = "t" // messages of all conversations
	byActivity order = "a" // conversations
	byCreation order = "c" // conversations
)

// position is where a page begins. A forward page contains older rows, a backward page newer ones.
// The position is a seq in a list of one conversation, and a time and an ID in other lists.
type position struct {
	order      order
	isFirst    bool // above the newest
	isBackward bool
	seq        int64
	time       time.Time
	id         uuid.UUID
}

// endOfTime is later than any row.
var endOfTime = time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	forwardPrefix  = "n"
	backwardPrefix = "p"
)

func (p position) cursor() string {
	text := forwardPrefix + string(p.order) + "."
	if p.isBackward {
		text = backwardPrefix + string(p.order) + "."
	}
	if p.order == bySeq {
		text += strconv.FormatInt(p.seq, 10)
	} else {
		text += strconv.FormatInt(p.time.UnixMicro(), 10) + "." + p.id.String()
	}
	return base64.RawURLEncoding.EncodeToString([]byte(text))
}

// parseCursor parses a cursor of a list in the given order. An empty cursor is the first page.
func parseCursor(cursor string, in order) (position, error) {
	at := position{order: in}
	if cursor == "" {
		at.isFirst, at.seq, at.time, at.id = true, math.MaxInt64, endOfTime, uuid.Max
		return at, nil
	}
	invalid := apperr.New(apperr.NotFound, "The cursor is invalid or belongs to another list. Start again without a cursor.")
	text, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return position{}, invalid
	}
	prefix, key, _ := strings.Cut(string(text), ".")
	at.isBackward = prefix == backwardPrefix+string(in)
	if !at.isBackward && prefix != forwardPrefix+string(in) {
		return position{}, invalid
	}
	number, id, hasID := strings.Cut(key, ".")
	value, err := strconv.ParseInt(number, 10, 64)
	if err != nil || value < 1 || value > math.MaxInt64/2 || hasID == (in == bySeq) {
		return position{}, invalid
	}
	if in == bySeq {
		at.seq = value
		return at, nil
	}
	if at.time = time.UnixMicro(value); at.time.After(endOfTime) {
		return position{}, invalid
	}
	if at.id, err = uuid.Parse(id); err != nil {
		return position{}, invalid
	}
	return at, nil
}

// pageOf returns a page, newest first, of rows that were read from a position in its direction, and
// the cursors of the adjacent pages, empty if there are none. hasMore reports whether more rows follow
// in that direction.
func pageOf[T any](rows []T, hasMore bool, at position, positionOf func(T) position) (newestFirst []T, next, previous string) {
	if len(rows) == 0 {
		return rows, "", ""
	}
	if at.isBackward {
		slices.Reverse(rows)
	}
	// The direction that the caller came from has more, unless this is the first page.
	if hasMore || at.isBackward {
		next = positionOf(rows[len(rows)-1]).cursor()
	}
	if (hasMore && at.isBackward) || (!at.isFirst && !at.isBackward) {
		newest := positionOf(rows[0])
		newest.isBackward = true
		previous = newest.cursor()
	}
	return rows, next, previous
}

// truncate returns the first limit rows, and whether there were more.
func truncate[T any](rows []T, limit int) ([]T, bool) {
	if len(rows) > limit {
		return rows[:limit], true
	}
	return rows, false
}
