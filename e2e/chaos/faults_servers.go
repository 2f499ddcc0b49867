package main

import (
	"context"
	"errors"
	"syscall"
	"time"
)

var serverFaults = []fault{
	{
		name: "server-killed", description: "SIGKILL of a random server and a restart, three times", duration: time.Second, short: time.Second,
		begin: func(ctx context.Context, d *deployment) error {
			for range 2 {
				err := errors.Join(d.anyServer().kill(), d.sleepUpTo(ctx, 500), d.startServers(ctx), d.sleepUpTo(ctx, 2000))
				if err != nil {
					return err
				}
			}
			return d.anyServer().kill()
		},
		end: func(ctx context.Context, d *deployment) error { return d.startServers(ctx) },
	},
	{
		name: "servers-killed", description: "SIGKILL of both servers", duration: 3 * time.Second,
		begin: func(_ context.Context, d *deployment) error {
			return errors.Join(d.servers[0].kill(), d.servers[1].kill())
		},
		end: func(ctx context.Context, d *deployment) error { return d.startServers(ctx) },
	},
	{
		name: "server-paused", description: "SIGSTOP of a server for longer than its leases, then SIGCONT", duration: 25 * time.Second,
		begin: func(_ context.Context, d *deployment) error { return d.servers[0].signal(syscall.SIGSTOP) },
		end:   func(_ context.Context, d *deployment) error { return d.servers[0].signal(syscall.SIGCONT) },
	},
	{
		name: "server-stopped", description: "SIGTERM of a server under load, then a restart", short: time.Millisecond,
		begin: func(_ context.Context, d *deployment) error { return d.anyServer().stop() },
		end:   func(ctx context.Context, d *deployment) error { return d.startServers(ctx) },
	},
	{
		name: "servers-rolled", description: "rolling restart: SIGTERM of one server, then of the other",
		begin: func(ctx context.Context, d *deployment) error {
			return errors.Join(d.servers[0].stop(), d.startServers(ctx), d.servers[1].stop())
		},
		end: func(ctx context.Context, d *deployment) error { return d.startServers(ctx) },
	},
}

func (d *deployment) anyServer() *server { return d.servers[d.random.IntN(2)] }

// sleepUpTo waits for a random time of at most that many milliseconds.
func (d *deployment) sleepUpTo(ctx context.Context, milliseconds int) error {
	return sleep(ctx, time.Duration(d.random.IntN(milliseconds))*time.Millisecond)
}

// startServers starts the servers that are not running.
func (d *deployment) startServers(ctx context.Context) error {
	for _, s := range d.servers {
		if s.process == nil {
			if err := d.startServer(ctx, s); err != nil {
				return err
			}
		}
	}
	return nil
}
