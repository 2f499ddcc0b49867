package httpapi_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"parley/internal/auth"
)

// streamListener is a stream that is read event by event and can be disconnected after any of them.
type streamListener struct {
	t      testing.TB
	run    string
	header http.Header
	body   io.ReadCloser
	lines  *bufio.Reader
	events []event
}

// tryListen opens a stream and can be called by any goroutine. The caller must disconnect, or read to the end.
func (c caller) tryListen(method, path string, body any, options ...option) (*streamListener, error) {
	request, err := c.request(method, path, body, append([]option{withHeader("Authorization", "Api-Key "+c.key)}, options...)...)
	if err != nil {
		return nil, err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/event-stream" {
		defer response.Body.Close()
		text, _ := io.ReadAll(response.Body)
		return nil, fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, text)
	}
	return &streamListener{t: c.t, run: response.Header.Get("X-Run-Id"), header: response.Header, body: response.Body, lines: bufio.NewReader(response.Body)}, nil
}

// listen requests a streamed completion.
func (c caller) listen(path string, body object) *streamListener {
	c.t.Helper()
	l, err := c.tryListen(http.MethodPost, path, body)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(l.disconnect)
	return l
}

// follow resumes the stream of a run.
func (c caller) follow(run, query string, options ...option) *streamListener {
	c.t.Helper()
	l, err := c.tryListen(http.MethodGet, "/api/runs/"+run+"/events/"+query, nil, options...)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(l.disconnect)
	return l
}

// tryNext reads the next event. It returns io.EOF after the last one.
func (l *streamListener) tryNext() (event, error) {
	var next event
	for {
		line, err := l.lines.ReadString('\n')
		if err != nil {
			return event{}, err
		}
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "id: "):
			next.id = strings.TrimPrefix(line, "id: ")
		case strings.HasPrefix(line, "data: "):
			if err := json.Unmarshal([]byte(strings.TrimPrefix(line, "data: ")), &next.data); err != nil {
				return event{}, err
			}
		case line == "" && next.data != nil:
			l.events = append(l.events, next)
			return next, nil
		case line != "" && !strings.HasPrefix(line, ":"):
			return event{}, fmt.Errorf("a line of the stream is %q", line)
		}
	}
}

// next reads an event, and fails the test if there is none.
func (l *streamListener) next() event {
	l.t.Helper()
	received, err := l.tryNext()
	if err != nil {
		l.t.Fatalf("after %d events: %v", len(l.events), err)
	}
	return received
}

// readTo reads until the text, appended to what the listener already has, is the wanted one.
func (l *streamListener) readTo(held, want string) {
	l.t.Helper()
	for held != want {
		data := l.next().data
		if data["reset"] == true {
			held = ""
		}
		if held += data["content"].(string); !strings.HasPrefix(want, held) || data["done"] == true {
			l.t.Fatalf("the text of the stream is %q, want %q: %v", held, want, l.events)
		}
	}
}

// rest reads to the end of the stream and returns all of its events.
func (l *streamListener) rest() []event {
	l.t.Helper()
	for {
		if _, err := l.tryNext(); errors.Is(err, io.EOF) {
			l.disconnect()
			return l.events
		} else if err != nil {
			l.t.Fatalf("after %d events: %v", len(l.events), err)
		}
	}
}

// disconnect disconnects.
func (l *streamListener) disconnect() { l.body.Close() }

// slowRule returns a rule of n deltas that are some milliseconds apart, and their text.
func slowRule(n, delay int) (rule object, whole string) {
	deltas := make([]string, n)
	for i := range deltas {
		deltas[i] = []string{"One ", "字", "🙂 and ", "é", "two, "}[i%5]
	}
	return object{"deltas": deltas, "delayMs": delay}, strings.Join(deltas, "")
}

// silentRule returns a rule whose reply writes its deltas and then neither continues nor ends.
func silentRule(match string, deltas ...string) object {
	return object{"match": match, "deltas": append([]string{}, deltas...), "silentAfter": len(deltas)}
}

// startConversationWith creates a conversation with a bot.
func (c caller) startConversationWith(slug string) string {
	c.t.Helper()
	return text(c.post("/api/conversations/start", object{"bot_id": slug}), "conversation_id")
}

// cancel cancels a run and returns the response.
func (c caller) cancel(run string) object {
	c.t.Helper()
	return c.call(http.MethodPost, "/api/runs/"+run+"/cancel/", nil).wantStatus(http.StatusOK)
}

// storedReply returns the stored reply of a run.
func (c caller) storedReply(run string) object {
	c.t.Helper()
	return c.get("/api/messages/" + text(c.get("/api/runs/"+run+"/"), "messageId") + "/")
}

// scriptedCaller returns a caller who may read records, and the completions path of a bot with that script.
func scriptedCaller(t testing.TB, rules ...object) (alice caller, completions string) {
	t.Helper()
	o := serve(t).organization()
	return o.as("alice", auth.Chat, auth.RecordsRead), o.createScriptedBot("s", rules...)
}
