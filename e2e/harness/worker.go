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

// Worker is another process of this program. It reads a job from standard input and writes its
// result to standard output, both as JSON.
type Worker struct {
	cmd  *exec.Cmd
	name string
	// Input sends further values to the worker while it runs.
	Input          *json.Encoder
	closeInput     func() error
	stdout, stderr bytes.Buffer
}

// StartWorker starts this program again as the named worker and sends it the job.
func StartWorker(ctx context.Context, name string, job any) (*Worker, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &Worker{cmd: exec.CommandContext(ctx, self, name), name: name}
	w.cmd.Stdout, w.cmd.Stderr = &w.stdout, &w.stderr
	stdin, err := w.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	w.Input, w.closeInput = json.NewEncoder(stdin), stdin.Close
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	if err := w.Input.Encode(job); err != nil {
		return nil, errors.Join(err, w.Wait(ctx, nil))
	}
	return w, nil
}

// Wait closes the worker's input, which signals some workers to finish. It waits for the worker's exit and decodes
// its result, unless result is nil.
func (w *Worker) Wait(ctx context.Context, result any) error {
	_ = w.closeInput() // fails if it has exited
	if err := w.cmd.Wait(); err != nil {
		return fmt.Errorf("the %s worker: %w\n%s", w.name, errors.Join(ctx.Err(), err), Tail(w.stderr.String()))
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(w.stdout.Bytes(), result); err != nil {
		return fmt.Errorf("decode the result of the %s worker: %w", w.name, err)
	}
	return nil
}

// RunWorker runs a worker to its end and returns its result.
func RunWorker[Result any](ctx context.Context, name string, job any) (result Result, err error) {
	w, err := StartWorker(ctx, name, job)
	if err != nil {
		return result, err
	}
	return result, w.Wait(ctx, &result)
}
