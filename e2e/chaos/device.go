package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// device holds on to a conversation by one socket after the other.
type device struct {
	*load

	talk    talk
	name    string
	prefers int // which server

	mu       sync.Mutex
	conn     *websocket.Conn // nil while there is none
	got      []string        // the messages that came, by their seq
	pending  string          // what it has said and has no answer to
	isResent bool            // over another link than the first
	isBroken bool            // what came cannot be
}

// frame is what a device reads of one.
type frame struct {
	Type, Status, Error, Detail, Content string
	Seq                                  int64
	MessageID                            string `json:"message_id"`
	RunID                                string `json:"run_id"`
	ClientMessageID                      string `json:"client_message_id"`
}

// live keeps the device connected, at the server that it prefers or, when that one does
// not take it, at the other.
func (d *device) live(ctx context.Context, random *rand.Rand) {
	for server := d.prefers; ctx.Err() == nil && !d.isBroken; server = 1 - server {
		if conn := d.connect(ctx, server); conn != nil {
			d.listen(ctx, conn)
		}
		_ = pause(ctx, time.Duration(50+random.IntN(200))*time.Millisecond)
	}
}

// connect opens a link behind what came so far, and says again what was not answered.
func (d *device) connect(ctx context.Context, server int) *websocket.Conn {
	d.opening <- struct{}{}
	defer func() { <-d.opening }()
	dialing, cancel := context.WithTimeout(ctx, silenceTime)
	defer cancel()
	address := fmt.Sprintf("ws%s/ws?session_id=%s&after=%d", strings.TrimPrefix(d.Bases[server], "http"), d.talk.Conversation, len(d.got))
	conn, answer, err := websocket.Dial(dialing, address, &websocket.DialOptions{ //nolint:bodyclose // it is the link's, or nobody's
		HTTPClient: d.streams, HTTPHeader: http.Header{"Authorization": {"Api-Key " + d.Key}},
	})
	if err != nil {
		status := 0
		if answer != nil {
			status = answer.StatusCode
		}
		if ctx.Err() == nil {
			d.refused("a socket", d.talk.Conversation, "", status, nil, err)
		}
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn = conn
	if d.pending != "" {
		d.isResent = true
		d.write(ctx)
	}
	return conn
}

// listen reads a link to its end, and ends it when it does not answer.
func (d *device) listen(ctx context.Context, conn *websocket.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var pings sync.WaitGroup
	pings.Go(func() {
		for pause(ctx, silenceTime/2) == nil {
			answered, stop := context.WithTimeout(ctx, silenceTime)
			err := conn.Ping(answered)
			stop()
			if err != nil {
				cancel()
			}
		}
	})
	defer func() {
		cancel()
		pings.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conn = nil
		_ = conn.CloseNow() // it may have ended
	}()
	for !d.isBroken {
		var one frame
		if wsjson.Read(ctx, conn, &one) != nil || !d.hear(one) {
			return
		}
	}
}

// hear takes a frame. Each message is the next one, and is told once: as it is, or as
// delivered to the device that sent it. What is said again may have been told already.
func (d *device) hear(one frame) (goesOn bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	isDelivered := one.Type == "status" && one.Status == "delivered"
	content := one.Content
	switch {
	case one.Type == "error" && (one.Error == "unavailable" || one.Error == "conflict" || one.Error == "timeout"):
		d.refused("a frame", d.talk.Conversation, d.pending, http.StatusServiceUnavailable, nil, nil)
		return false // it says it again over the next link
	case one.Type == "error":
		d.broken("it is told %s: %s", one.Error, one.Detail)
		return false
	case one.Type != "message" && !isDelivered:
		return true
	}
	if isDelivered {
		if one.ClientMessageID != d.pending {
			d.broken("waiting for %q it is told %+v", d.pending, one)
			return false
		}
		content = d.pending
		d.journal.add(entry{Kind: wasTold, Conversation: d.talk.Conversation, Content: content, ID: one.MessageID, Seq: one.Seq, Run: one.RunID})
		if d.isResent && one.Seq <= int64(len(d.got)) && d.got[one.Seq-1] == one.MessageID {
			d.pending = ""
			return true
		}
		d.pending = ""
	}
	d.journal.add(entry{Kind: didHear, Conversation: d.talk.Conversation, Device: d.name, ID: one.MessageID, Seq: one.Seq, Content: content})
	if one.Seq != int64(len(d.got))+1 {
		d.isBroken = true // the journal tells whether it is a gap or came twice
		return false
	}
	d.got = append(d.got, one.MessageID)
	return true
}

func (d *device) broken(format string, args ...any) {
	d.isBroken = true
	d.journal.add(entry{Kind: didBreak, Conversation: d.talk.Conversation, Device: d.name, Why: fmt.Sprintf(format, args...)})
}

// say sends a message where there is a link and all was answered.
func (d *device) say(content string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil || d.pending != "" {
		return
	}
	d.pending, d.isResent = content, false
	d.journal.add(entry{Kind: didAsk, Conversation: d.talk.Conversation, Content: content})
	d.write(context.Background())
}

// write sends what is pending. Should it fail, the link is at its end.
func (d *device) write(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, silenceTime)
	defer cancel()
	_ = wsjson.Write(ctx, d.conn, map[string]string{"type": "message", "content": d.pending, "client_message_id": d.pending})
}

// cut ends the link, as a device does that goes into a tunnel.
func (d *device) cut() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.CloseNow() // it may have ended
	}
}

// awaitAnswer waits until what was said is acknowledged.
func (d *device) awaitAnswer() {
	err := until(context.Background(), persistence, "an answer", func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.pending != "" && !d.isBroken {
			return fmt.Errorf("%q has none", d.pending)
		}
		return nil
	})
	if err != nil {
		d.journal.add(entry{Kind: didBreak, Conversation: d.talk.Conversation, Device: d.name, Why: err.Error()})
	}
}

func (d *device) isConnected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn != nil
}

func (d *device) isAt(seq int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(d.got)) >= seq || d.isBroken
}
