package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"

	"parley/internal/contracttest"
)

// device holds on to a conversation by one socket after the other.
type device struct {
	*chaos

	talk *chaosTalk
	name string

	mu       sync.Mutex
	conn     *websocket.Conn // nil while there is none
	tcp      net.Conn
	got      []string // the messages that came, by their seq
	pending  string   // what it has said and has no answer to
	isResent bool     // over another link than the first
	isBroken bool     // what came cannot be
}

// chaosFrame is what a device reads of a frame.
type chaosFrame struct {
	Type, Status, Error, Detail string
	Seq                         int
	MessageID                   string `json:"message_id"`
	ClientMessageID             string `json:"client_message_id"`
}

// live keeps the device connected, anywhere.
func (d *device) live(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil && !d.isBroken {
		if conn := d.connect(ctx, random.IntN(2)); conn != nil {
			d.listen(ctx, conn)
		}
		pause(ctx, time.Duration(10+random.IntN(400))*time.Millisecond)
	}
}

// connect opens a link to a server, behind what came so far, and says again what was not answered.
func (d *device) connect(ctx context.Context, i int) *websocket.Conn {
	d.opening <- struct{}{}
	defer func() { <-d.opening }()
	dialing, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var tcp net.Conn
	dialing = httptrace.WithClientTrace(dialing, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { tcp = info.Conn }})
	address := fmt.Sprintf("ws%s/ws?session_id=%s&after=%d", strings.TrimPrefix(*d.bases[i].Load(), "http"), d.talk.id, len(d.got))
	conn, answer, err := websocket.Dial(dialing, address, &websocket.DialOptions{
		HTTPClient: d.http, HTTPHeader: http.Header{"Authorization": {"Api-Key " + d.key}},
	})
	if err != nil {
		if answer != nil && answer.StatusCode != http.StatusServiceUnavailable {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.broken("it may not connect: %v", err)
		}
		return nil
	}
	d.links.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.conn, d.tcp = conn, tcp
	if d.pending != "" {
		d.isResent = true
		d.write(ctx)
	}
	return conn
}

// listen reads a link to its end.
func (d *device) listen(ctx context.Context, conn *websocket.Conn) {
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conn = nil
		_ = conn.CloseNow() // it may have ended
	}()
	for !d.isBroken {
		_, text, err := conn.Read(ctx)
		if err != nil || !d.hear(text) {
			return
		}
	}
}

// hear takes a frame. Each message is the next one, and is told once: as it is, or as delivered
// to the device that sent it. What is said again may have been told already.
func (d *device) hear(text []byte) (goesOn bool) {
	var frame chaosFrame
	err := errors.Join(contracttest.CheckFrame(text), json.Unmarshal(text, &frame))
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.broken("it is told what the document does not have: %v", err)
		return false
	}
	isDelivered := frame.Type == "status" && frame.Status == "delivered"
	switch {
	case frame.Type == "error" && (frame.Error == "unavailable" || frame.Error == "conflict"):
		d.refusals.Add(1) // it says it again over the next link
		return false
	case frame.Type == "error":
		d.broken("it is told %s: %s", frame.Error, frame.Detail)
	case frame.Type != "message" && !isDelivered:
	case isDelivered && frame.ClientMessageID == d.pending && d.isResent && frame.Seq <= len(d.got) && d.got[frame.Seq-1] == frame.MessageID:
		d.acknowledged(frame)
	case frame.Seq != len(d.got)+1:
		d.broken("after seq %d (waiting for %q, resent %t) comes %+v", len(d.got), d.pending, d.isResent, frame)
	default:
		d.got = append(d.got, frame.MessageID)
		if isDelivered {
			d.acknowledged(frame)
		}
	}
	return true
}

func (d *device) acknowledged(frame chaosFrame) {
	if frame.ClientMessageID != d.pending {
		d.broken("waiting for %q it is told %+v", d.pending, frame)
	}
	d.talk.note(d.pending, frame.MessageID)
	d.pending = ""
}

func (t *chaosTalk) note(content, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said[content] = id
}

func (d *device) broken(format string, args ...any) {
	d.isBroken = true
	d.t.Errorf("%s: %s", d.name, fmt.Sprintf(format, args...))
}

// say sends a message where there is a link and all was answered.
func (d *device) say(ctx context.Context, content string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil || d.pending != "" {
		return false
	}
	d.pending, d.isResent = content, false
	d.write(ctx)
	return true
}

// write sends what is pending. Should it fail, the link is at its end.
func (d *device) write(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = wsjson.Write(ctx, d.conn, object{"type": "message", "content": d.pending, "client_message_id": d.pending})
}

// cut ends the link in one way or another.
func (d *device) cut(random *rand.Rand) {
	d.mu.Lock()
	conn, tcp := d.conn, d.tcp
	d.mu.Unlock()
	if conn == nil {
		return
	}
	d.cuts.Add(1)
	switch random.IntN(3) { // it may have ended
	case 0:
		_ = conn.Close(websocket.StatusNormalClosure, "")
	case 1:
		_ = tcp.(*net.TCPConn).SetLinger(0) // a reset
		_ = tcp.Close()
	default:
		_ = tcp.Close()
	}
}

func (d *device) isAt(seq int) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pending == "" && (len(d.got) == seq || d.isBroken)
}
