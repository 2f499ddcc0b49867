package chat

// ReencodeCursor parses a cursor and encodes it again. It returns false for an invalid cursor.
func ReencodeCursor(cursor string, isOfConversation bool) (string, bool) {
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

// SetSearchThresholds sets when a search switches its strategy.
func (c *Chat) SetSearchThresholds(conversations, messages, matches, nearby int32) {
	c.thresholds = searchThresholds{conversations, messages, matches, nearby}
}
