package chat

import (
	"encoding/json"

	"parley/internal/apperr"
)

// CheckQueryMetadata is shown to the tests of the parsers.
func CheckQueryMetadata(raw json.RawMessage) error {
	return checkQueryMetadata(apperr.InvalidMessage, "", raw)
}

// Reread reads a cursor and writes it again; ok tells whether it could be read.
func Reread(cursor string, isOfConversation bool) (again string, ok bool) {
	in := byTime
	if isOfConversation {
		in = bySeq
	}
	at, err := parseCursor(cursor, in)
	if err != nil {
		return "", false
	}
	return at.cursor(), true
}

// Containing is the pattern for texts that contain this one.
func Containing(text string) string { return containing(text) }

// LiveReplies is how many replies are kept in memory.
func (c *Chat) LiveReplies() int {
	c.live.mu.Lock()
	defer c.live.mu.Unlock()
	return len(c.live.byRun)
}

// HearsOthers tells whether hints of other instances are heard.
func (c *Chat) HearsOthers() bool {
	c.hints.mu.Lock()
	defer c.hints.mu.Unlock()
	return c.hints.hasListened
}

// BoundSearch sets where a search turns from one way to the next.
func (c *Chat) BoundSearch(shortConversations, shortMessages, matches, nearby int32) {
	c.search = searchBounds{shortConversations, shortMessages, matches, nearby}
}

// LimitVisits has so many visits be served at the most.
func (c *Chat) LimitVisits(limit int) { c.visits.limit = limit }
