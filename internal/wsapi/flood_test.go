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

// opcodes of RFC 6455, section 5.2.
const (
	continuation = 0x0
	text         = 0x1
	ping         = 0x9
)

// wireFrame is a frame as a client has to write it, under a mask of zeros.
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

// A message may come in any number of pieces, with pings between them; all of them together have the bound of one.
func TestAFrameMayComeInPieces(t *testing.T) {
	t.Parallel()
	o := serve(t, settings{}).organization()
	alice := o.as("alice", auth.Chat)
	id := alice.quiet()
	l, below := alice.dialOver(id)
	message := frameOf("in many pieces 字", "client_message_id", "c-1")
	wire := wireFrame(false, text, "")
	for i := range len(message) {
		wire = append(wire, wireFrame(true, ping, "still here")...)
		wire = append(wire, wireFrame(i == len(message)-1, continuation, message[i:i+1])...)
	}
	if _, err := below.Write(wire); err != nil {
		t.Fatal(err)
	}
	if got := l.awaitStatus("delivered"); got.ClientMessageID != "c-1" || got.Seq != 1 {
		t.Errorf("delivered: %+v", got)
	}

	piece := strings.Repeat(" ", 1<<10)
	wire = wireFrame(false, text, "{")
	for range 64 {
		wire = append(wire, wireFrame(false, continuation, piece)...)
	}
	if _, err := below.Write(wire); err != nil {
		t.Fatal(err)
	}
	if code, frames := l.ends(); code != websocket.StatusMessageTooBig || len(frames) > 0 {
		t.Errorf("closed with %d after %v", code, frames)
	}
	if stored := o.stored(id); len(stored) != 1 || stored[0].content != "in many pieces 字" {
		t.Errorf("stored: %v", stored)
	}
}

// Who sends without end and reads nothing is soon not read any more either, and cut off; the others do not wait for that.
func TestFloodsAreCutOffAndDelayNobody(t *testing.T) {
	t.Parallel()
	for name, flooding := range map[string]struct {
		frame  []byte
		ending string
	}{
		"wrong frames": {wireFrame(true, text, `{"type":"nothing"}`), "slow"},
		"pings":        {wireFrame(true, ping, strings.Repeat("x", 125)), "slow"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := serve(t, settings{buffer: 64 << 10}).organization()
			const bound = 2 * time.Second
			o.sockets.BePatient(time.Minute, time.Minute, bound)
			alice, bob := o.as("alice", auth.Chat), o.as("bob", auth.Chat)
			quick := alice.watch(alice.quiet())
			_, below := bob.dialOver(bob.quiet())
			began := time.Now()
			if err := below.SetWriteDeadline(began.Add(patience)); err != nil {
				t.Fatal(err)
			}
			var flooded sync.WaitGroup
			var why error
			flooded.Go(func() { why = flood(below, flooding.frame) })
			slowest := time.Duration(0)
			eventually(t, "only the quick one is served", func() bool {
				asked := time.Now()
				quick.delivers("hello")
				slowest = max(slowest, time.Since(asked))
				return goroutines(o.server) == 1
			})
			flooded.Wait()
			if errors.Is(why, os.ErrDeadlineExceeded) || time.Since(began) < bound {
				t.Errorf("it ends after %v: %v", time.Since(began), why)
			}
			if slowest > bound {
				t.Errorf("beside it a message takes %v", slowest)
			}
			if got := o.sockets.Closed()[flooding.ending](); got != 1 {
				t.Errorf("%d are closed as %s", got, flooding.ending)
			}
		})
	}
}

// flood writes a frame again and again, and returns why it can no more.
func flood(conn net.Conn, frame []byte) error {
	many := slices.Repeat(frame, 1+(64<<10)/len(frame))
	for {
		if _, err := conn.Write(many); err != nil {
			return err
		}
	}
}
