package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"
)

// floodSize is the number of connections that exhaust a server's descriptors.
const floodSize = 200

var machineFaults = []fault{
	diskFull(),
	filesExhausted(),
	everything(),
}

// diskFull fills the file system of the database. It restarts a PostgreSQL that exited because of
// it.
func diskFull() fault {
	var free func() error
	return fault{
		name: "disk-full", description: "no space left for the database (a file system of 256 MB)", duration: 8 * time.Second, megabytes: 256,
		begin: func(_ context.Context, d *deployment) (err error) {
			free, err = fillDisk(d.postgres.dir)
			return err
		},
		end: func(ctx context.Context, d *deployment) error {
			if err := free(); err != nil {
				return err
			}
			return d.postgres.start(ctx)
		},
	}
}

// filesExhausted limits a server's file descriptors and exhausts them with idle connections.
func filesExhausted() fault {
	var cleanups []func() error
	return fault{
		name: "files-exhausted", description: "a server with 20 spare file descriptors, flooded with connections", duration: 8 * time.Second,
		begin: func(ctx context.Context, d *deployment) error {
			s := d.servers[0]
			now, err := s.readMetrics(ctx)
			if err != nil {
				return err
			}
			restore, err := limitFiles(s.process.Pid(), uint64(now[descriptors])+20)
			if err != nil {
				return err
			}
			cleanups = append(cleanups, restore)
			for range floodSize {
				conn, err := net.DialTimeout("tcp", address(s.port), time.Second) //nolint:noctx // a loopback connection is answered or refused immediately
				if err != nil {
					continue // the listen queue is bounded
				}
				cleanups = append(cleanups, conn.Close)
			}
			return nil
		},
		end: func(context.Context, *deployment) error {
			var errs []error
			for _, cleanup := range cleanups {
				errs = append(errs, cleanup())
			}
			return errors.Join(errs...)
		},
	}
}

// everything injects random faults that overlap: two at a time, of different kinds.
func everything() fault {
	return fault{
		name: "everything", description: "ten random faults of the above, each beginning before the previous one ends",
		begin: func(ctx context.Context, d *deployment) error {
			var candidates, active []fault
			for _, group := range [][]fault{serverFaults[:1], postgresFaults, redisFaults, clientFaults, modelFaults} {
				candidates = append(candidates, slices.DeleteFunc(slices.Clone(group), func(f fault) bool { return f.duration == 0 })...)
			}
			for range 10 {
				next := candidates[d.random.IntN(len(candidates))]
				for slices.ContainsFunc(active, next.conflictsWith) {
					next = candidates[d.random.IntN(len(candidates))]
				}
				logf("  %s", next.name)
				if err := next.begin(ctx, d); err != nil {
					return err
				}
				if err := sleep(ctx, time.Duration(500+d.random.IntN(2500))*time.Millisecond); err != nil {
					return err
				}
				if active = append(active, next); len(active) == 2 {
					if err := active[0].end(ctx, d); err != nil {
						return err
					}
					active = active[1:]
				}
			}
			return active[0].end(ctx, d)
		},
		end: func(context.Context, *deployment) error { return nil },
	}
}

// conflictsWith reports whether two faults cannot overlap, because the end of one would also end the other. Faults of
// servers and of PostgreSQL conflict too, because a server does not start without its database.
func (f fault) conflictsWith(other fault) bool {
	kind := func(f fault) string {
		name, _, _ := strings.Cut(f.name, "-")
		return strings.Replace(name, "server", "postgres", 1)
	}
	return kind(f) == kind(other)
}
