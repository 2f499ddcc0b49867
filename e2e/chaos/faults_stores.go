package main

import (
	"context"
	"errors"
	"syscall"
	"time"
)

var postgresFaults = append([]fault{
	{
		name: "postgres-stopped", what: "PostgreSQL stopped at once (SIGQUIT) and started again, three times", lasts: time.Second, short: time.Second,
		begin: func(ctx context.Context, w *world) error {
			for range 2 {
				w.postgres.end(syscall.SIGQUIT, false)
				if err := errors.Join(w.sometime(ctx, 500), w.postgres.begin(ctx), w.sometime(ctx, 2000)); err != nil {
					return err
				}
			}
			w.postgres.end(syscall.SIGQUIT, false)
			return nil
		},
		end: func(ctx context.Context, w *world) error { return w.postgres.begin(ctx) },
	},
	{
		name: "postgres-killed", what: "kill -9 of all processes of PostgreSQL", lasts: 3 * time.Second,
		begin: func(_ context.Context, w *world) error { w.postgres.end(syscall.SIGKILL, true); return nil },
		end:   func(ctx context.Context, w *world) error { return w.postgres.begin(ctx) },
	},
	{
		name: "postgres-restarted", what: "PostgreSQL restarted as an operator does (SIGINT), three times",
		begin: func(ctx context.Context, w *world) error {
			for range 3 {
				w.postgres.end(syscall.SIGINT, false)
				if err := errors.Join(w.postgres.begin(ctx), pause(ctx, time.Second)); err != nil {
					return err
				}
			}
			return nil
		},
		end: func(context.Context, *world) error { return nil },
	},
	{
		name: "postgres-backends-killed", what: "connections ended by pg_terminate_backend, again and again", lasts: time.Second,
		begin: func(ctx context.Context, w *world) error {
			for range 20 {
				_, err := w.number(ctx, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'parley' AND random() < 0.5")
				if err := errors.Join(err, pause(ctx, 200*time.Millisecond)); err != nil {
					return err
				}
			}
			return nil
		},
		end: func(context.Context, *world) error { return nil },
	},
	onOne("postgres-cut-from-one", "one of the servers cut off from PostgreSQL", toPostgres),
}, networkFaults("postgres", func(w *world) []*link { return w.links(toPostgres) }, 150, 24, 4*time.Second)...)

var redisFaults = append([]fault{
	{
		name: "redis-killed", what: "kill -9 of Redis, which comes back empty", lasts: 4 * time.Second, short: 2 * time.Second,
		begin: func(_ context.Context, w *world) error { w.redis.end(syscall.SIGKILL, false); return nil },
		end: func(ctx context.Context, w *world) error {
			if err := w.redis.start(); err != nil {
				return err
			}
			return w.redis.listens(ctx, postgresTime)
		},
	},
	{
		name: "redis-flushed", what: "FLUSHALL, twenty times",
		begin: func(ctx context.Context, w *world) error {
			for range 20 {
				if err := errors.Join(flush(w.redis.port), pause(ctx, 150*time.Millisecond)); err != nil {
					return err
				}
			}
			return nil
		},
		end: func(context.Context, *world) error { return nil },
	},
	{
		name: "redis-paused", what: "SIGSTOP of Redis", lasts: 6 * time.Second,
		begin: func(_ context.Context, w *world) error { return w.redis.process.Signal(syscall.SIGSTOP) },
		end:   func(_ context.Context, w *world) error { return w.redis.process.Signal(syscall.SIGCONT) },
	},
	onOne("redis-cut-from-one", "one of the servers cut off from Redis", toRedis),
}, networkFaults("redis", func(w *world) []*link { return w.links(toRedis) }, 150, 8, 0)...)

var clientFaults = networkFaults("clients", func(w *world) []*link { return w.links(toClients) }, 150, 32, 0)

// onOne cuts one of the servers off from something.
func onOne(name, what string, of func(*server) *link) fault {
	f := fault{name: name, what: what, lasts: 6 * time.Second}
	f.begin, f.end = onLinks(func(w *world) []*link { return []*link{of(w.servers[0])} }, func(l *link) error { l.cut(); return nil })
	return f
}
