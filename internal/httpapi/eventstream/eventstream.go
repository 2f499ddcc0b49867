// Package eventstream answers requests with the reply of a chatbot: as server-sent events while it
// is written, or as a whole once it has ended. Each API supplies the format of its events.
package eventstream

import (
	"context"
	"fmt"
	"time"

	"parley/internal/apperr"
	"parley/internal/reply"
)

// KeepAlive is the interval of comments on an idle stream.
const KeepAlive = 15 * time.Second

// Events is the format of a stream.
type Events interface {
	// Delta writes more of the text. After a restart of the reply isReset is true and text is the
	// whole text so far.
	Delta(at reply.Position, text string, isReset bool) error
	// Last writes the end of the reply.
	Last(at reply.Position, outcome *reply.Outcome) error
	Comment() error
	Flush() error
}

// Run writes the events of a reply from a position on, until the reply has ended. From the zero
// position, the text so far is one delta. A client that disconnects or reads too slowly ends the
// stream, not the reply.
func Run(ctx context.Context, r *reply.Reply, from reply.Position, events Events) error {
	idle := time.NewTimer(KeepAlive)
	defer idle.Stop()
	for at := from; ; {
		chunk, grown := r.Next(at)
		at = chunk.After
		switch {
		case chunk.Outcome != nil:
			if err := events.Last(at, chunk.Outcome); err != nil {
				return err
			}
			return events.Flush()
		case !chunk.IsEmpty():
			if err := events.Delta(at, chunk.Delta, chunk.IsReset); err != nil {
				return err
			}
			continue
		}
		// Deltas that were already available are written as one burst and flushed once.
		if err := events.Flush(); err != nil {
			return err
		}
		idle.Reset(KeepAlive)
		select {
		case <-grown:
		case <-idle.C:
			if err := events.Comment(); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Wait returns the outcome of a reply once it has ended, and the error of a reply that failed. After
// the timeout Wait returns a Timeout error; a reply that is stored continues.
func Wait(ctx context.Context, r *reply.Reply, timeout time.Duration) (*reply.Outcome, error) {
	message := fmt.Sprintf("The reply takes longer than %g seconds.", timeout.Seconds())
	if r.IsStored() {
		message += fmt.Sprintf(" It continues as run %s.", r.RunID)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, apperr.New(apperr.Timeout, message))
	defer cancel()
	for at := r.Start(); ; {
		chunk, err := r.Follow(ctx, at, timeout)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		switch {
		case err != nil:
			return nil, err
		case chunk.Outcome != nil && chunk.Outcome.Err != nil:
			return nil, chunk.Outcome.Err
		case chunk.Outcome != nil:
			return chunk.Outcome, nil
		}
		at = chunk.After
	}
}

// Hold waits until a reply has its first text or has ended, but not longer than timeout. It returns
// the error of a reply that failed without any text, which can still have a status.
func Hold(ctx context.Context, r *reply.Reply, timeout time.Duration) error {
	chunk, err := r.Follow(ctx, r.Start(), timeout)
	if err != nil {
		return err
	}
	if chunk.Outcome != nil && chunk.Outcome.Err != nil {
		return chunk.Outcome.Err
	}
	return nil
}
