package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Errand is another process of the own program that does something and tells what it
// has found.
type Errand struct {
	cmd  *exec.Cmd
	name string
	// In tells it more.
	In         *json.Encoder
	end        func() error
	said, told bytes.Buffer
}

// Send starts one of the programs that this one is too, an errand.
func Send(ctx context.Context, name string, job any) (*Errand, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	e := &Errand{cmd: exec.CommandContext(ctx, self, name), name: name}
	e.cmd.Stdout, e.cmd.Stderr = &e.said, &e.told
	in, err := e.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	e.In, e.end = json.NewEncoder(in), in.Close
	if err := e.cmd.Start(); err != nil {
		return nil, err
	}
	if err := e.In.Encode(job); err != nil {
		return nil, errors.Join(err, e.Result(ctx, nil))
	}
	return e, nil
}

// Result waits for its end, for which the end of its input may be the sign.
func (e *Errand) Result(ctx context.Context, into any) error {
	_ = e.end() // it may have ended
	if err := e.cmd.Wait(); err != nil {
		return fmt.Errorf("the %s: %w\n%s", e.name, errors.Join(ctx.Err(), err), LastOf(e.told.String()))
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(e.said.Bytes(), into); err != nil {
		return fmt.Errorf("read what the %s has found: %w", e.name, err)
	}
	return nil
}

// Ask sends an errand and waits for what it finds.
func Ask[Found any](ctx context.Context, name string, job any) (found Found, err error) {
	e, err := Send(ctx, name, job)
	if err != nil {
		return found, err
	}
	return found, e.Result(ctx, &found)
}
