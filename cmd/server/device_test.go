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

// device watches a conversation and reconnects whenever its socket breaks.
type device struct {
	*chaos

	talk *chaosTalk
	name string

	mu       sync.Mutex
	conn     *websocket.Conn // nil while disconnected
	tcp      net.Conn
	got      []string // the received message IDs, in order of seq
	pending  string   // the message that was sent and not acknowledged
	isResent bool     // over another connection
	isBroken bool     // a check has failed
}

// chaosFrame is the part of a frame that tests read.
type chaosFrame struct {
	Type, Status, Error, Detail string
	Seq                         int
	MessageID                   string `json:"message_id"`
	ClientMessageID             string `json:"client_message_id"`
}

// live keeps the device connected, to either instance.
func (d *device) live(ctx context.Context, random *rand.Rand) {
	for ctx.Err() == nil && !d.isBroken {
		if conn := d.connect(ctx, random.IntN(2)); conn != nil {
			d.listen(ctx, conn)
		}
		pause(ctx, time.Duration(10+random.IntN(400))*time.Millisecond)
	}
}

// connect opens a socket that resumes after the last received message, and sends the pending message again.
func (d *device) connect(ctx context.Context, i int) *websocket.Conn {
	d.opening <- struct{}{}
	defer func() { <-d.opening }()
	dialing, cancel := context.WithTimeout(ctx, testTimeout)
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
			d.broken("connect: %v", err)
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

// listen reads frames until the connection ends.
func (d *device) listen(ctx context.Context, conn *websocket.Conn) {
	defer func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.conn = nil
		_ = conn.CloseNow() // may be closed already
	}()
	for !d.isBroken {
		_, text, err := conn.Read(ctx)
		if err != nil || !d.handle(text) {
			return
		}
	}
}

// handle checks a frame. Each message must have the next seq and come once: as a message or, on the device that sent
// it, as delivered. A message that was sent again may have been received already.
func (d *device) handle(text []byte) (goesOn bool) {
	var frame chaosFrame
	err := errors.Join(contracttest.CheckFrame(text), json.Unmarshal(text, &frame))
	d.mu.Lock()
	defer d.mu.Unlock()
	if err != nil {
		d.broken("invalid frame: %v", err)
		return false
	}
	isDelivered := frame.Type == "status" && frame.Status == "delivered"
	switch {
	case frame.Type == "error" && (frame.Error == "unavailable" || frame.Error == "conflict"):
		d.refusals.Add(1) // sent again over the next connection
		return false
	case frame.Type == "error":
		d.broken("it is received %s: %s", frame.Error, frame.Detail)
	case frame.Type != "message" && !isDelivered:
	case isDelivered && frame.ClientMessageID == d.pending && d.isResent && frame.Seq <= len(d.got) && d.got[frame.Seq-1] == frame.MessageID:
		d.acknowledged(frame)
	case frame.Seq != len(d.got)+1:
		d.broken("after seq %d (pending %q, resent %t): %+v", len(d.got), d.pending, d.isResent, frame)
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
		d.broken("pending %q, acknowledged %+v", d.pending, frame)
	}
	d.talk.note(d.pending, frame.MessageID)
	d.pending = ""
}

func (t *chaosTalk) note(content, id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.acknowledged[content] = id
}

func (d *device) broken(format string, args ...any) {
	d.isBroken = true
	d.t.Errorf("%s: %s", d.name, fmt.Sprintf(format, args...))
}

// send sends a message if the device is connected and nothing is pending. It reports whether it did.
func (d *device) send(ctx context.Context, content string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conn == nil || d.pending != "" {
		return false
	}
	d.pending, d.isResent = content, false
	d.write(ctx)
	return true
}

// write sends the pending message. If it fails, the connection ends.
func (d *device) write(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_ = wsjson.Write(ctx, d.conn, object{"type": "message", "content": d.pending, "client_message_id": d.pending})
}

// cut ends the connection with a close frame, a reset, or a FIN.
func (d *device) cut(random *rand.Rand) {
	d.mu.Lock()
	conn, tcp := d.conn, d.tcp
	d.mu.Unlock()
	if conn == nil {
		return
	}
	d.cuts.Add(1)
	switch random.IntN(3) { // may be closed already
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
