package bot

import (
	"context"
	"fmt"
	"io"
	"net"
	"strings"

	"parley/gen/db"
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

// WhileFilesAreRead does something while as many files are read as may be.
func (b *Bots) WhileFilesAreRead(do func()) {
	for range maxUnpacking {
		b.unpacking <- struct{}{}
	}
	do()
	for range maxUnpacking {
		<-b.unpacking
	}
}

// Entry is an entry that a file holds, or what is wrong with its row.
type Entry struct {
	Question, Answer string
	Labels           []string
	Mistake          string
}

// Entries reads a file's entries, and what is wrong with the rows that are none.
func Entries(file []byte) ([]Entry, error) {
	t, err := readTable(file)
	if err != nil {
		return nil, err
	}
	all := []Entry{}
	for _, r := range t.rows {
		e, mistake := t.entry(r)
		if mistake != "" {
			e = entry{}
		}
		all = append(all, Entry{e.question, e.answer, e.labels, mistake})
	}
	return all, nil
}

// SlugOf makes a slug of a name.
func SlugOf(name string, unique bool) (string, error) { return slugOf(name, unique) }

// IsSlug tells whether a chatbot may have the slug.
func IsSlug(slug string) bool { return checkSlug(slug) == nil }

// Stored is a script as the database has it.
func (s *Script) Stored() ([]byte, error) { return s.toColumn() }

// Says tells what a script says to a text, and how that ends; ok is false where no rule matches.
func Says(stored []byte, text string) (said string, ok bool, err error) {
	rule, ok, err := ruleFor(db.Bot{Script: stored}, text)
	if err != nil || !ok {
		return "", ok, err
	}
	rule.DelayMS, rule.SilentAfter = 0, nil // which take their time
	err = rule.perform(context.Background(), func(delta string) error { said += delta; return nil })
	return said, true, err
}

// ReadReply tells what a model's server says, and all that is noted of it.
func ReadReply(body io.Reader) (said, noted string) {
	var text strings.Builder
	c := &completion{heard: func() {}, ending: func() {}, emit: func(delta string) error {
		text.WriteString(delta)
		return nil
	}}
	err := c.read(body)
	return text.String(), fmt.Sprintf("%q %d %s %t %v", text.String(), c.size, c.finishReason(), c.isFull, err)
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
