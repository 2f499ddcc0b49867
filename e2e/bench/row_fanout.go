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

// fanOutSockets is the number of sockets that receive each message of row 9.
const fanOutSockets = 1000

// rowFanOut is row 9.
func (b *bench) rowFanOut() row {
	return row{
		number: "9",
		lines: []line{{
			what: fmt.Sprintf("message to %d sockets: CPU per delivery / bare writes of the same frames", fanOutSockets),
			must: atMost(2), aim: atMost(1.5), format: rate,
		}},
		measure: func(ctx context.Context, seconds int) ([]measurement, error) {
			ours, err := b.measureFanOut(ctx, b.server, seconds)
			if err != nil {
				return nil, err
			}
			reference, err := b.measureFanOut(ctx, b.reference, seconds)
			return []measurement{{ours.server / reference.server, ours, reference}}, err
		},
	}
}

// measureFanOut measures the delivery of messages to many sockets of a server. The reference server
// writes the frame that the product has written before.
func (b *bench) measureFanOut(ctx context.Context, server *harness.Process, seconds int) (_ sample, err error) {
	job := socketJob{Base: server.Base, Sockets: fanOutSockets, IDs: unansweredIDs, Count: 1, Keys: b.keys, Duration: time.Duration(seconds) * time.Second}
	if server == b.reference {
		job.Frame = b.frame
	}
	sockets, err := openSockets(ctx, job)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, sockets.close()) }()
	var delivered deliveries
	used, err := b.measureCPU(server, func() (err error) {
		delivered, err = sockets.measure()
		return err
	})
	if err != nil {
		return sample{}, err
	}
	b.frame = delivered.Frame
	return loadResult{Requests: delivered.Count, Elapsed: delivered.Elapsed}.sample(used), nil
}

// socketProcess is a sockets process.
type socketProcess struct {
	cmd       *exec.Cmd
	stdin     io.WriteCloser
	requests  *json.Encoder
	responses *json.Decoder
	stderr    bytes.Buffer
}

// openSockets starts a sockets process and returns when all sockets are open.
func openSockets(ctx context.Context, job socketJob) (*socketProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &socketProcess{cmd: exec.CommandContext(ctx, self, "sockets")}
	p.cmd.Stderr = &p.stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.requests, p.responses = json.NewEncoder(p.stdin), json.NewDecoder(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var opened deliveries
	if err := errors.Join(p.requests.Encode(job), p.responses.Decode(&opened)); err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

// measure measures deliveries once.
func (p *socketProcess) measure() (deliveries, error) {
	var result deliveries
	return result, errors.Join(p.requests.Encode(true), p.responses.Decode(&result))
}

// close closes the sockets and waits for the process.
func (p *socketProcess) close() error {
	_ = p.stdin.Close() // the signal to exit
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("the sockets worker: %w\n%s", err, p.stderr.String())
	}
	return nil
}
