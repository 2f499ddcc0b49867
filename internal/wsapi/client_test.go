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

// testTimeout is the maximum time that a test waits for a frame.
const testTimeout = 60 * time.Second

// wsClient is a client of a socket. It validates every frame against the OpenAPI document.
type wsClient struct {
	t         testing.TB
	conn      *websocket.Conn
	connected frame // the first frame
}

// tryDial opens a socket. It may be called by any goroutine.
func (c caller) tryDial(query string) (*wsClient, error) {
	header := http.Header{}
	if c.key != "" {
		header.Set("Authorization", "Api-Key "+c.key)
	}
	return c.dialWith(query, &websocket.DialOptions{HTTPHeader: header})
}

func (c caller) dialWith(query string, options *websocket.DialOptions) (*wsClient, error) {
	ctx, cancel := context.WithTimeout(c.t.Context(), testTimeout)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, c.address(query), options)
	if err != nil {
		return nil, err
	}
	conn.SetReadLimit(1 << 20)
	c.t.Cleanup(func() { conn.CloseNow() })
	ws := &wsClient{t: c.t, conn: conn}
	if ws.connected, err = ws.read(); err != nil {
		return nil, err
	}
	if !ws.connected.isStatus("connected") {
		return nil, fmt.Errorf("the first frame is %+v, want connected", ws.connected)
	}
	return ws, nil
}

// dial opens a socket with a query such as session_id=….
func (c caller) dial(query string) *wsClient {
	c.t.Helper()
	ws, err := c.tryDial(query)
	if err != nil {
		c.t.Fatalf("dial ?%s: %v", query, err)
	}
	return ws
}

// watch opens a socket on a conversation.
func (c caller) watch(conversation string) *wsClient {
	c.t.Helper()
	return c.dial("session_id=" + conversation)
}

// read reads a frame. It may be called by any goroutine.
func (ws *wsClient) read() (frame, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ws.t.Context()), testTimeout)
	defer cancel()
	kind, data, err := ws.conn.Read(ctx)
	if err != nil {
		return frame{}, err
	}
	if kind != websocket.MessageText {
		return frame{}, fmt.Errorf("a binary frame: %x", data)
	}
	if err := contracttest.CheckFrame(data); err != nil {
		return frame{}, err
	}
	var got frame
	if err := json.Unmarshal(data, &got); err != nil {
		return got, err
	}
	if ws.connected.SessionID != "" && got.SessionID != ws.connected.SessionID {
		return got, fmt.Errorf("the session of %s is not %s", data, ws.connected.SessionID)
	}
	return got, nil
}

func (ws *wsClient) next() frame {
	ws.t.Helper()
	got, err := ws.read()
	if err != nil {
		ws.t.Fatalf("read a frame: %v", err)
	}
	return got
}

// readUntil reads frames until one matches, and returns all of them.
func (ws *wsClient) readUntil(matches func(frame) bool) []frame {
	ws.t.Helper()
	var all []frame
	for {
		got := ws.next()
		all = append(all, got)
		if matches(got) {
			return all
		}
	}
}

// await reads frames until one matches, and returns it.
func (ws *wsClient) await(matches func(frame) bool) frame {
	ws.t.Helper()
	all := ws.readUntil(matches)
	return all[len(all)-1]
}

func (ws *wsClient) awaitStatus(status string) frame {
	ws.t.Helper()
	return ws.await(func(f frame) bool { return f.isStatus(status) })
}

func (ws *wsClient) awaitReply() frame {
	ws.t.Helper()
	return ws.await(frame.isReply)
}

// expectError reads until the next error frame, which must have the code.
func (ws *wsClient) expectError(code string) frame {
	ws.t.Helper()
	got := ws.await(func(f frame) bool { return f.Type == "error" })
	if got.Error != code || got.Detail == "" {
		ws.t.Fatalf("want the error %s, got %+v", code, got)
	}
	return got
}

// write writes a text frame. It may be called by any goroutine.
func (ws *wsClient) write(data string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ws.t.Context()), testTimeout)
	defer cancel()
	return ws.conn.Write(ctx, websocket.MessageText, []byte(data))
}

func (ws *wsClient) sendRaw(data string) {
	ws.t.Helper()
	if err := ws.write(data); err != nil {
		ws.t.Fatalf("write a frame: %v", err)
	}
}

// frameOf returns a message frame with additional fields, given as names and values.
func frameOf(content string, more ...any) string {
	fields := object{"type": "message", "content": content}
	for i := 0; i < len(more); i += 2 {
		fields[more[i].(string)] = more[i+1]
	}
	return string(must(json.Marshal(fields)))
}

// sendMessage sends a message.
func (ws *wsClient) sendMessage(content string, more ...any) {
	ws.t.Helper()
	ws.sendRaw(frameOf(content, more...))
}

// deliver sends a message and reads until it is delivered.
func (ws *wsClient) deliver(content string, more ...any) frame {
	ws.t.Helper()
	ws.sendMessage(content, more...)
	return ws.awaitStatus("delivered")
}

// readUntilClosed reads until the socket is closed. It returns the close code and the frames before it.
func (ws *wsClient) readUntilClosed() (websocket.StatusCode, []frame) {
	ws.t.Helper()
	var all []frame
	for {
		got, err := ws.read()
		if err != nil {
			return websocket.CloseStatus(err), all
		}
		all = append(all, got)
	}
}

// readMessages reads until the message with the seq last, and returns the messages. sent returns the content of a
// message that this client has sent, by its client_message_id.
func (ws *wsClient) readMessages(last int64, sent func(id string) string) ([]message, error) {
	var all []message
	for len(all) == 0 || all[len(all)-1].seq < last {
		got, err := ws.read()
		switch {
		case err != nil:
			return all, err
		case got.Type == "error":
			return all, fmt.Errorf("refused: %s", got.Detail)
		case got.Type == "message":
			all = append(all, message{got.Seq, got.MessageID, got.Sender, got.Content})
		case got.isStatus("delivered"):
			all = append(all, message{got.Seq, got.MessageID, "user", sent(got.ClientMessageID)})
		}
	}
	return all, nil
}
