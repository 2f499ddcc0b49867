package wsapi_test

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/internal/auth"
)

// The opcodes of RFC 6455, section 5.2.
const (
	continuation = 0x0
	text         = 0x1
	ping         = 0x9
)

// wireFrame returns an encoded client frame with a mask of zeros.
func wireFrame(isLast bool, opcode byte, payload string) []byte {
	if isLast {
		opcode |= 0x80
	}
	const isMasked = 0x80
	head := []byte{opcode, isMasked | byte(len(payload))}
	if len(payload) > 125 {
		head = binary.BigEndian.AppendUint16([]byte{opcode, isMasked | 126}, uint16(len(payload)))
	}
	return slices.Concat(head, make([]byte, 4), []byte(payload))
}

// A message may be fragmented, with pings between the fragments. The size limit applies to the whole message.
func TestFragmentedFramesAreAccepted(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.startWithoutReplies()
	ws, tcp := alice.dialTCP(id)
	message := frameOf("fragmented 字", "client_message_id", "c-1")
	wire := wireFrame(false, text, "")
	for i := range len(message) {
		wire = append(wire, wireFrame(true, ping, "still here")...)
		wire = append(wire, wireFrame(i == len(message)-1, continuation, message[i:i+1])...)
	}
	if _, err := tcp.Write(wire); err != nil {
		t.Fatal(err)
	}
	if got := ws.awaitStatus("delivered"); got.ClientMessageID != "c-1" || got.Seq != 1 {
		t.Errorf("delivered: %+v", got)
	}

	piece := strings.Repeat(" ", 60<<10)
	wire = wireFrame(false, text, "{")
	for range 70 {
		wire = append(wire, wireFrame(false, continuation, piece)...)
	}
	if _, err := tcp.Write(wire); err != nil {
		t.Fatal(err)
	}
	if code, frames := ws.readUntilClosed(); code != websocket.StatusMessageTooBig || len(frames) > 0 {
		t.Errorf("closed with %d after %v", code, frames)
	}
	if stored := o.storedMessages(id); len(stored) != 1 || stored[0].content != "fragmented 字" {
		t.Errorf("stored: %v", stored)
	}
}

// The server stops reading from a client that sends endlessly without reading, and disconnects it. Other sockets are not delayed.
func TestFloodingClientsAreDisconnected(t *testing.T) {
	t.Parallel()
	for name, flooding := range map[string]struct {
		frame  []byte
		ending string
	}{
		"invalid frames": {wireFrame(true, text, `{"type":"nothing"}`), "slow"},
		"pings":          {wireFrame(true, ping, strings.Repeat("x", 125)), "slow"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := serve(t, settings{buffer: 64 << 10}).organization()
			const bound = 2 * time.Second
			o.sockets.SetTimeouts(time.Minute, time.Minute, bound)
			alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
			fast := alice.watch(alice.startWithoutReplies())
			_, tcp := bob.dialTCP(bob.startWithoutReplies())
			began := time.Now()
			if err := tcp.SetWriteDeadline(began.Add(testTimeout)); err != nil {
				t.Fatal(err)
			}
			var flooded sync.WaitGroup
			var why error
			flooded.Go(func() { why = flood(tcp, flooding.frame) })
			slowest := time.Duration(0)
			eventually(t, "only the fast socket is open", func() bool {
				asked := time.Now()
				fast.deliver("hello")
				slowest = max(slowest, time.Since(asked))
				return socketGoroutines(o.server) == 1
			})
			flooded.Wait()
			if errors.Is(why, os.ErrDeadlineExceeded) || time.Since(began) < bound {
				t.Errorf("the flood ended after %v: %v", time.Since(began), why)
			}
			if slowest > bound {
				t.Errorf("a message on another socket took %v", slowest)
			}
			if got := o.sockets.Closed()[flooding.ending](); got != 1 {
				t.Errorf("%d sockets were closed as %s, want 1", got, flooding.ending)
			}
		})
	}
}

// flood writes a frame repeatedly until a write fails, and returns the error.
func flood(conn net.Conn, frame []byte) error {
	many := slices.Repeat(frame, 1+(64<<10)/len(frame))
	for {
		if _, err := conn.Write(many); err != nil {
			return err
		}
	}
}
