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

// fanOut measures a delivery: a message goes to many sockets of a server, or of the
// floor, which writes the frame that the server has written.
func (m *measurements) fanOut(ctx context.Context, of *child, seconds int) (_ sample, err error) {
	a := audience{
		Base: of.base, Sockets: fanOutSockets, First: 0, Count: 1, Keys: m.keys, Duration: time.Duration(seconds) * time.Second,
	}
	if of == m.bare {
		a.Frame = m.frame
	}
	l, err := gather(ctx, a)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, l.leave()) }()
	var h heard
	used, err := m.cost(of, func() (err error) {
		h, err = l.listen()
		return err
	})
	if err != nil {
		return sample{}, err
	}
	m.frame = h.Frame
	return sample{
		rate:   float64(h.Deliveries) / h.Elapsed.Seconds(),
		server: perOperation(used.server, h.Deliveries), postgres: perOperation(used.postgres, h.Deliveries),
	}, nil
}
