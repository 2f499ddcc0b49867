package bot

import (
	"context"
	"fmt"
	"net"
)

// Doors for the fuzz tests, to what no request can aim at so directly.

// TextOf turns HTML into text.
func TextOf(source string) string { return textOf(source) }

// KeyOf is a question without its spelling.
func KeyOf(question string) string { return keyOf(question) }

// Pieces cuts a reply.
func Pieces(text string) []string { return pieces(text) }

// Terms cuts a text.
func Terms(text string) []string {
	var found []string
	for _, t := range cutTerms(text) {
		found = append(found, t.text)
	}
	return found
}

// ReadTable reads a file and tells how many entries and errors it holds.
func ReadTable(file []byte) (entries, errors int, err error) {
	t, err := readTable(file)
	if err != nil {
		return 0, 0, err
	}
	good, bad := t.entries()
	return len(good), len(bad), nil
}

// TakeChunk tells all that a reply notes of a chunk of a stream; isAny: as encoding/json reads it.
func TakeChunk(raw []byte, isAny bool) (noted string) {
	note := func(what string) { noted += what + "\n" }
	c := &completion{
		heard:  func() { note("heard") },
		ending: func() { note("ending") },
		emit: func(delta string) error {
			note(fmt.Sprintf("%q", delta))
			return nil
		},
	}
	take := c.take
	if isAny {
		take = c.takeAny
	}
	err := take(raw)
	return noted + fmt.Sprint(c.size, c.finish, c.isFull, c.promptTokens != nil, c.completionTokens != nil, err)
}

// IsPlainChunk tells whether a chunk is read without encoding/json.
func IsPlainChunk(raw []byte) bool {
	_, isPlain := plainDelta(raw)
	return isPlain
}

// Asker asks model servers for bots that are in no database.
type Asker struct{ servers *modelServers }

// NewAsker returns one whose connections come from dial.
func NewAsker(dial func(ctx context.Context, network, address string) (net.Conn, error)) *Asker {
	return &Asker{dialingModelServers(dial)}
}

// Ask has a model answer.
func (a *Asker) Ask(ctx context.Context, m Model, apiKey string, q Question, emit func(string) error) (Answer, error) {
	return openAIEngine{servers: a.servers}.respond(ctx, m, apiKey, q, nil, emit)
}

// Close closes the connections that nobody uses.
func (a *Asker) Close() { a.servers.client.CloseIdleConnections() }

// TokensOf estimates the tokens of a text.
func TokensOf(text string) int { return tokensOf(text) }
