package main

import (
	"context"
	"errors"
	"syscall"
	"time"
)

var serverFaults = []fault{
	{
		name: "server-killed", what: "kill -9 of one server or the other, which is started again, three times", lasts: time.Second, short: time.Second,
		begin: func(ctx context.Context, w *world) error {
			for range 2 {
				err := errors.Join(w.any().kill(), w.sometime(ctx, 500), w.startAll(ctx), w.sometime(ctx, 2000))
				if err != nil {
					return err
				}
			}
			return w.any().kill()
		},
		end: func(ctx context.Context, w *world) error { return w.startAll(ctx) },
	},
	{
		name: "servers-killed", what: "kill -9 of both servers", lasts: 3 * time.Second,
		begin: func(_ context.Context, w *world) error { return errors.Join(w.servers[0].kill(), w.servers[1].kill()) },
		end:   func(ctx context.Context, w *world) error { return w.startAll(ctx) },
	},
	{
		name: "server-paused", what: "SIGSTOP of a server for longer than its leases, then SIGCONT", lasts: 25 * time.Second,
		begin: func(_ context.Context, w *world) error { return w.servers[0].signal(syscall.SIGSTOP) },
		end:   func(_ context.Context, w *world) error { return w.servers[0].signal(syscall.SIGCONT) },
	},
	{
		name: "server-stopped", what: "SIGTERM to a server in the middle of everything, which is started again when it has ended", short: time.Millisecond,
		begin: func(_ context.Context, w *world) error { return w.any().stop() },
		end:   func(ctx context.Context, w *world) error { return w.startAll(ctx) },
	},
	{
		name: "servers-rolled", what: "SIGTERM to one server and then to the other, each started again",
		begin: func(ctx context.Context, w *world) error {
			return errors.Join(w.servers[0].stop(), w.startAll(ctx), w.servers[1].stop())
		},
		end: func(ctx context.Context, w *world) error { return w.startAll(ctx) },
	},
}

// any is one of the servers.
func (w *world) any() *server { return w.servers[w.random.IntN(2)] }

// sometime waits for a while, by chance, of so many milliseconds at the most.
func (w *world) sometime(ctx context.Context, most int) error {
	return pause(ctx, time.Duration(w.random.IntN(most))*time.Millisecond)
}

// startAll starts those that do not run.
func (w *world) startAll(ctx context.Context) error {
	for _, s := range w.servers {
		if s.process == nil {
			if err := w.startServer(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}
