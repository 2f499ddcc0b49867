package main

import (
	"context"
	"errors"
	"syscall"
	"time"
)

var postgresFaults = append([]fault{
	{
		name: "postgres-stopped", description: "immediate shutdown of PostgreSQL (SIGQUIT) and a restart, three times", duration: time.Second, short: time.Second,
		begin: func(ctx context.Context, d *deployment) error {
			for range 2 {
				d.postgres.end(syscall.SIGQUIT, false)
				if err := errors.Join(d.sleepUpTo(ctx, 500), d.postgres.start(ctx), d.sleepUpTo(ctx, 2000)); err != nil {
					return err
				}
			}
			d.postgres.end(syscall.SIGQUIT, false)
			return nil
		},
		end: func(ctx context.Context, d *deployment) error { return d.postgres.start(ctx) },
	},
	{
		name: "postgres-killed", description: "SIGKILL of all PostgreSQL processes", duration: 3 * time.Second,
		begin: func(_ context.Context, d *deployment) error { d.postgres.end(syscall.SIGKILL, true); return nil },
		end:   func(ctx context.Context, d *deployment) error { return d.postgres.start(ctx) },
	},
	{
		name: "postgres-restarted", description: "fast shutdown of PostgreSQL (SIGINT) and a restart, three times",
		begin: func(ctx context.Context, d *deployment) error {
			for range 3 {
				d.postgres.end(syscall.SIGINT, false)
				if err := errors.Join(d.postgres.start(ctx), sleep(ctx, time.Second)); err != nil {
					return err
				}
			}
			return nil
		},
		end: func(context.Context, *deployment) error { return nil },
	},
	{
		name: "postgres-backends-killed", description: "random connections ended by pg_terminate_backend, repeatedly", duration: time.Second,
		begin: func(ctx context.Context, d *deployment) error {
			for range 20 {
				_, err := d.queryInt(ctx, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'parley' AND random() < 0.5")
				if err := errors.Join(err, sleep(ctx, 200*time.Millisecond)); err != nil {
					return err
				}
			}
			return nil
		},
		end: func(context.Context, *deployment) error { return nil },
	},
	cutFromOne("postgres-cut-from-one", "one server cut off from PostgreSQL", toPostgres),
}, networkFaults("postgres", func(d *deployment) []*link { return d.links(toPostgres) }, 150, 24, 4*time.Second)...)

var redisFaults = append([]fault{
	{
		name: "redis-killed", description: "SIGKILL of Redis, which restarts empty", duration: 4 * time.Second, short: 2 * time.Second,
		begin: func(_ context.Context, d *deployment) error { d.redis.end(syscall.SIGKILL, false); return nil },
		end: func(ctx context.Context, d *deployment) error {
			if err := d.redis.spawn(); err != nil {
				return err
			}
			return d.redis.awaitPort(ctx, postgresTime)
		},
	},
	{
		name: "redis-flushed", description: "FLUSHALL, twenty times",
		begin: func(ctx context.Context, d *deployment) error {
			for range 20 {
				if err := errors.Join(flushRedis(d.redis.port), sleep(ctx, 150*time.Millisecond)); err != nil {
					return err
				}
			}
			return nil
		},
		end: func(context.Context, *deployment) error { return nil },
	},
	{
		name: "redis-paused", description: "SIGSTOP of Redis", duration: 6 * time.Second,
		begin: func(_ context.Context, d *deployment) error { return d.redis.process.Signal(syscall.SIGSTOP) },
		end:   func(_ context.Context, d *deployment) error { return d.redis.process.Signal(syscall.SIGCONT) },
	},
	cutFromOne("redis-cut-from-one", "one server cut off from Redis", toRedis),
}, networkFaults("redis", func(d *deployment) []*link { return d.links(toRedis) }, 150, 8, 0)...)

var clientFaults = networkFaults("clients", func(d *deployment) []*link { return d.links(toClients) }, 150, 32, 0)

// cutFromOne cuts one of the links of the first server.
func cutFromOne(name, description string, of func(*server) *link) fault {
	f := fault{name: name, description: description, duration: 6 * time.Second}
	f.begin, f.end = onLinks(func(d *deployment) []*link { return []*link{of(d.servers[0])} }, func(l *link) error { l.cut(); return nil })
	return f
}
