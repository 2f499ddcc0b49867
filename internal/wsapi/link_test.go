package wsapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/contracttest"
)

// patience is how long a test waits for a frame.
const patience = 30 * time.Second

// link is a client's end of a socket. Every frame that it reads is held against the
// document.
type link struct {
	t    testing.TB
	conn *websocket.Conn
	hi   frame // the first one
}

// tryDial opens a socket; it may be called by any goroutine.
func (c caller) tryDial(query string) (*link, error) {
	header := http.Header{}
	if c.key != "" {
		header.Set("Authorization", "Api-Key "+c.key)
	}
	return c.dialWith(query, &websocket.DialOptions{HTTPHeader: header})
}

func (c caller) dialWith(query string, options *websocket.DialOptions) (*link, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, c.address(query), options)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	c.t.Cleanup(func() { conn.CloseNow() })
	l := &link{t: c.t, conn: conn}
	if l.hi, err = l.read(); err != nil {
		return nil, err
	}
	if !l.hi.isStatus("connected") {
		return nil, fmt.Errorf("the first frame is %+v", l.hi)
	}
	return l, nil
}

// dial opens a socket with a query such as session_id=….
func (c caller) dial(query string) *link {
	c.t.Helper()
	l, err := c.tryDial(query)
	if err != nil {
		c.t.Fatalf("dial ?%s: %v", query, err)
	}
	return l
}

// watch opens a socket on a conversation.
func (c caller) watch(conversation string) *link {
	c.t.Helper()
	return c.dial("session_id=" + conversation)
}

// read reads a frame; it may be called by any goroutine.
func (l *link) read() (frame, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.t.Context()), patience)
	defer cancel()
	kind, data, err := l.conn.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	if kind != websocket.MessageText {
		return frame{}, fmt.Errorf("a binary frame: %x", data)
	}
	if err := contracttest.Frame(data); err != nil {
		return frame{}, err
	}
	var got frame
	if err := json.Unmarshal(data, &got); err != nil {
		return got, err
	}
	if l.hi.SessionID != "" && got.SessionID != l.hi.SessionID {
		return got, fmt.Errorf("%s is of another session than %s", data, l.hi.SessionID)
	}
	return got, nil
}

func (l *link) next() frame {
	l.t.Helper()
	got, err := l.read()
	if err != nil {
		l.t.Fatalf("read a frame: %v", err)
	}
	return got
}

// until reads up to the first frame that is wanted, and returns all of them.
func (l *link) until(isWanted func(frame) bool) []frame {
	l.t.Helper()
	var all []frame
	for {
		got := l.next()
		all = append(all, got)
		if isWanted(got) {
			return all
		}
	}
}

// await is the last of until.
func (l *link) await(isWanted func(frame) bool) frame {
	l.t.Helper()
	all := l.until(isWanted)
	return all[len(all)-1]
}

func (l *link) awaitStatus(status string) frame {
	l.t.Helper()
	return l.await(func(f frame) bool { return f.isStatus(status) })
}

func (l *link) awaitReply() frame {
	l.t.Helper()
	return l.await(frame.isReply)
}

// refuses reads up to the next error frame, which must have that code.
func (l *link) refuses(code string) frame {
	l.t.Helper()
	got := l.await(func(f frame) bool { return f.Type == "error" })
	if got.Error != code || got.Detail == "" {
		l.t.Fatalf("want the error %s, got %+v", code, got)
	}
	return got
}

// write writes a text frame as it is; it may be called by any goroutine.
func (l *link) write(data string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.t.Context()), patience)
	defer cancel()
	return l.conn.Write(ctx, websocket.MessageText, []byte(data))
}

func (l *link) send(data string) {
	l.t.Helper()
	if err := l.write(data); err != nil {
		l.t.Fatalf("write a frame: %v", err)
	}
}

// frameOf is a client's frame with some more fields, given as name and value.
func frameOf(content string, more ...any) string {
	fields := object{"type": "message", "content": content}
	for i := 0; i < len(more); i += 2 {
		fields[more[i].(string)] = more[i+1]
	}
	return string(must(json.Marshal(fields)))
}

// say sends a message.
func (l *link) say(content string, more ...any) {
	l.t.Helper()
	l.send(frameOf(content, more...))
}

// delivers sends a message and reads until it is delivered.
func (l *link) delivers(content string, more ...any) frame {
	l.t.Helper()
	l.say(content, more...)
	return l.awaitStatus("delivered")
}

// ends reads up to the close, and returns its code and the frames before it.
func (l *link) ends() (websocket.StatusCode, []frame) {
	l.t.Helper()
	var all []frame
	for {
		got, err := l.read()
		if err != nil {
			return websocket.CloseStatus(err), all
		}
		all = append(all, got)
	}
}

// lines reads until a seq has come, and returns the messages on the way: what was
// delivered is filled in from known, which the test has sent.
func (l *link) lines(last int64, sent func(id string) string) ([]line, error) {
	var all []line
	for len(all) == 0 || all[len(all)-1].seq < last {
		got, err := l.read()
		switch {
		case err != nil:
			return all, err
		case got.Type == "error":
			return all, fmt.Errorf("refused: %s", got.Detail)
		case got.Type == "message":
			all = append(all, line{got.Seq, got.MessageID, got.Sender, got.Content})
		case got.isStatus("delivered"):
			all = append(all, line{got.Seq, got.MessageID, "user", sent(got.ClientMessageID)})
		}
	}
	return all, nil
}
