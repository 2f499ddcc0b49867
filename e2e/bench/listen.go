package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"parley/e2e/harness"
)

// listeners is an audience in another process.
type listeners struct {
	cmd     *exec.Cmd
	in      io.WriteCloser
	demands *json.Encoder
	said    *json.Decoder
	told    bytes.Buffer
}

// gather starts an audience, and returns when all its sockets are open.
func gather(ctx context.Context, a audience) (*listeners, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	l := &listeners{cmd: exec.CommandContext(ctx, self, "audience")}
	l.cmd.Stderr = &l.told
	if l.in, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.demands, l.said = json.NewEncoder(l.in), json.NewDecoder(out)
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	var isOpen heard
	if err := errors.Join(l.demands.Encode(a), l.said.Decode(&isOpen)); err != nil {
		return nil, errors.Join(err, l.leave())
	}
	return l, nil
}

// listen has the audience listen once.
func (l *listeners) listen() (heard, error) {
	var result heard
	return result, errors.Join(l.demands.Encode(true), l.said.Decode(&result))
}

// leave closes the sockets.
func (l *listeners) leave() error {
	_ = l.in.Close() // which is how it is told
	if err := l.cmd.Wait(); err != nil {
		return fmt.Errorf("listen: %w\n%s", err, l.told.String())
	}
	return nil
}

// fanOutSockets is how many sockets get each message of row 9.
const fanOutSockets = 1000

// fanOuts is row 9.
func (b *bench) fanOuts() row {
	return row{
		number: "9",
		lines: []line{{
			what: fmt.Sprintf("a message to %d sockets: CPU a delivery / bare writes of the same frames", fanOutSockets),
			must: atMost(2), aim: atMost(1.5), shows: rate,
		}},
		measure: func(ctx context.Context, seconds int) ([]finding, error) {
			ours, err := b.fanOut(ctx, b.server, seconds)
			if err != nil {
				return nil, err
			}
			floor, err := b.fanOut(ctx, b.bare, seconds)
			return []finding{{ours.server / floor.server, ours, floor}}, err
		},
	}
}

// fanOut measures a delivery: a message goes to many sockets of a server, or of the
// floor, which writes the frame that the server has written.
func (b *bench) fanOut(ctx context.Context, of *harness.Process, seconds int) (_ sample, err error) {
	a := audience{Base: of.Base, Sockets: fanOutSockets, IDs: silentTalks, Count: 1, Keys: b.keys, Duration: time.Duration(seconds) * time.Second}
	if of == b.bare {
		a.Frame = b.frame
	}
	l, err := gather(ctx, a)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, l.leave()) }()
	var h heard
	used, err := b.cost(of, func() (err error) {
		h, err = l.listen()
		return err
	})
	if err != nil {
		return sample{}, err
	}
	b.frame = h.Frame
	return found{Requests: h.Deliveries, Elapsed: h.Elapsed}.sample(used), nil
}
