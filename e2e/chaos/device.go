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

// device follows a conversation over successive WebSockets and checks what it receives.
type device struct {
	*load

	conversation conversation
	name         string
	preferred    int // the server that the device tries first

	mu       sync.Mutex
	conn     *websocket.Conn // nil while disconnected
	received []string        // message ids by seq
	pending  string          // the content of the message that is not acknowledged yet
	isResent bool            // the pending message was sent over more than one connection
	isBroken bool            // the device received something that must never arrive
}

// frame is the part of a frame that a device reads.
type frame struct {
	Type, Status, Error, Detail, Content string
	Seq                                  int64
	MessageID                            string `json:"message_id"`
	RunID                                string `json:"run_id"`
	ClientMessageID                      string `json:"client_message_id"`
}

// run keeps the device connected, to the preferred server or, if that one refuses, to the other.
func (d *device) run(ctx context.Context, random *rand.Rand) {
	for server := d.preferred; ctx.Err() == nil && !d.isBroken; server = 1 - server {
		if conn := d.connect(ctx, server); conn != nil {
			d.read(ctx, conn)
		}
		_ = sleep(ctx, time.Duration(50+random.IntN(200))*time.Millisecond)
	}
}

// connect resumes after the last received message, and resends the pending one.
func (d *device) connect(ctx context.Context, server int) *websocket.Conn {
	d.dialing <- struct{}{}
	defer func() { <-d.dialing }()
	dialCtx, cancel := context.WithTimeout(ctx, silenceLimit)
	defer cancel()
	url := fmt.Sprintf("ws%s/ws?session_id=%s&after=%d", strings.TrimPrefix(d.Bases[server], "http"), d.conversation.ID, len(d.received))
	conn, response, err := websocket.Dial(dialCtx, url, &websocket.DialOptions{ //nolint:bodyclose // Dial closes it
		HTTPClient: d.streams, HTTPHeader: http.Header{"Authorization": {"Api-Key " + d.Key}},
	})
	if err != nil {
		status := 0
		if response != nil {
			status = response.StatusCode
		}
		if ctx.Err() == nil {
			d.recordFailure("a socket", d.conversation.ID, "", status, nil, err)
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

// read reads a connection to its end. It closes the connection when pings go unanswered.
func (d *device) read(ctx context.Context, conn *websocket.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	var pings sync.WaitGroup
	pings.Go(func() {
		for sleep(ctx, silenceLimit/2) == nil {
			pingCtx, stop := context.WithTimeout(ctx, silenceLimit)
			err := conn.Ping(pingCtx)
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
		_ = conn.CloseNow() // the connection may be closed already
	}()
	for !d.isBroken {
		var f frame
		if wsjson.Read(ctx, conn, &f) != nil || !d.receive(f) {
			return
		}
	}
}

// receive handles a frame. Each message must have the next seq and arrive once: as a message, or as
// "delivered" on the device that sent it. Only the acknowledgement of a resent message may repeat a
// message that has arrived. It returns false when the connection is to be closed.
func (d *device) receive(f frame) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	isDelivered := f.Type == "status" && f.Status == "delivered"
	content := f.Content
	switch {
	case f.Type == "error" && (f.Error == "unavailable" || f.Error == "conflict" || f.Error == "timeout"):
		d.recordFailure("a frame", d.conversation.ID, d.pending, http.StatusServiceUnavailable, nil, nil)
		return false // the next connection resends the message
	case f.Type == "error":
		d.violate("received the error %s: %s", f.Error, f.Detail)
		return false
	case f.Type != "message" && !isDelivered:
		return true
	}
	if isDelivered {
		if f.ClientMessageID != d.pending {
			d.violate("expected the acknowledgement of %q, received %+v", d.pending, f)
			return false
		}
		content = d.pending
		d.journal.add(entry{Kind: kindAcked, Conversation: d.conversation.ID, Content: content, ID: f.MessageID, Seq: f.Seq, Run: f.RunID})
		if d.isResent && f.Seq <= int64(len(d.received)) && d.received[f.Seq-1] == f.MessageID {
			d.pending = ""
			return true
		}
		d.pending = ""
	}
	d.journal.add(entry{Kind: kindReceived, Conversation: d.conversation.ID, Device: d.name, ID: f.MessageID, Seq: f.Seq, Content: content})
	if f.Seq != int64(len(d.received))+1 {
		d.isBroken = true // the checker derives a gap or a duplicate from the journal
		return false
	}
	d.received = append(d.received, f.MessageID)
	return true
}

func (d *device) violate(format string, args ...any) {
	d.isBroken = true
	d.journal.add(entry{Kind: kindViolation, Conversation: d.conversation.ID, Device: d.name, Why: fmt.Sprintf(format, args...)})
}

// send sends a message if the device is connected and has no pending one.
func (d *device) send(content string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil || d.pending != "" {
		return
	}
	d.pending, d.isResent = content, false
	d.journal.add(entry{Kind: kindSent, Conversation: d.conversation.ID, Content: content})
	d.write(context.Background())
}

// write writes the pending message; the caller holds mu. After a failed write the reader sees the
// closed connection.
func (d *device) write(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, silenceLimit)
	defer cancel()
	_ = wsjson.Write(ctx, d.conn, map[string]string{"type": "message", "content": d.pending, "client_message_id": d.pending})
}

// disconnect closes the connection without a closing handshake, like a device that loses its
// network.
func (d *device) disconnect() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn != nil {
		_ = d.conn.CloseNow() // it may be closed already
	}
}

// awaitAcknowledgement waits until nothing is pending.
func (d *device) awaitAcknowledgement() {
	err := waitFor(context.Background(), retryTime, "an acknowledgement", func() error {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.pending != "" && !d.isBroken {
			return fmt.Errorf("%q is pending", d.pending)
		}
		return nil
	})
	if err != nil {
		d.journal.add(entry{Kind: kindViolation, Conversation: d.conversation.ID, Device: d.name, Why: err.Error()})
	}
}

func (d *device) isConnected() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.conn != nil
}

// hasReceived reports whether the device has received the messages up to seq, or is broken and will never receive
// them.
func (d *device) hasReceived(seq int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return int64(len(d.received)) >= seq || d.isBroken
}
