package llm

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"parley/internal/bot"
)

// ReadReply reads a model server's response. It returns the text of the reply and a description of its other
// properties.
func ReadReply(body io.Reader) (text, description string) {
	var written strings.Builder
	c := &completion{onProgress: func() {}, onFinish: func() {}, emit: func(delta string) error {
		written.WriteString(delta)
		return nil
	}}
	err := c.read(body)
	return written.String(), fmt.Sprintf("%q %d %s %t %v", written.String(), c.size, c.finishReason(), c.isFull, err)
}

// ReadChunk returns a description of everything that a reply uses from a chunk of the stream. If isGeneral is set, it
// reads the chunk with encoding/json.
func ReadChunk(raw []byte, isGeneral bool) (description string) {
	note := func(what string) { description += what + "\n" }
	c := &completion{
		onProgress: func() { note("progress") },
		onFinish:   func() { note("finish") },
		emit: func(delta string) error {
			note(fmt.Sprintf("%q", delta))
			return nil
		},
	}
	read := c.addChunk
	if isGeneral {
		read = c.decodeChunk
	}
	err := read(raw)
	return description + fmt.Sprint(c.size, c.finish, c.isFull, c.usage.prompt != nil, c.usage.completion != nil, err)
}

// IsPlainChunk reports whether a chunk is read without encoding/json.
func IsPlainChunk(raw []byte) bool {
	_, isPlain := plainDelta(raw)
	return isPlain
}

// TestClient calls model servers for chatbots that are not stored.
type TestClient struct{ client *client }

// NewTestClient returns a client that opens connections with dial.
func NewTestClient(dial func(ctx context.Context, network, address string) (net.Conn, error)) *TestClient {
	return &TestClient{newClient(dial)}
}

// Ask sends a question to a model without FAQs.
func (c *TestClient) Ask(ctx context.Context, m bot.Model, apiKey string, q bot.Question, emit func(string) error) (bot.Answer, error) {
	return c.client.respond(ctx, m, apiKey, q, nil, emit)
}

// Close closes idle connections.
func (c *TestClient) Close() { c.client.http.CloseIdleConnections() }

// EstimateTokens estimates the number of tokens of a text.
func EstimateTokens(text string) int { return estimateTokens(text) }
