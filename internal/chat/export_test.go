package chat

import "encoding/json"

// CheckQueryMetadata is shown to the tests of the parsers.
func CheckQueryMetadata(raw json.RawMessage) error { return checkQueryMetadata("", raw) }

// Reread reads a cursor and writes it again; ok tells whether it could be read.
func Reread(cursor string, isOfConversation bool) (again string, ok bool) {
	at, err := parseCursor(cursor, isOfConversation)
	if err != nil {
		return "", false
	}
	return at.cursor(), true
}
