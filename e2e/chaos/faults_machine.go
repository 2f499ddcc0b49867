package main

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"time"
)

// floodSize is how many connections use up what a server may have.
const floodSize = 200

var machineFaults = []fault{
	diskFull(),
	filesExhausted(),
	everything(),
}

// diskFull leaves no room where the database is. A PostgreSQL that has ended of it is
// started again when there is room.
func diskFull() fault {
	var empty func() error
	return fault{
		name: "disk-full", what: "no room left under the database (a file system of 256 MB)", lasts: 8 * time.Second, megabytes: 256,
		begin: func(_ context.Context, w *world) (err error) {
			empty, err = fill(w.postgres.dir)
			return err
		},
		end: func(ctx context.Context, w *world) error {
			if err := empty(); err != nil {
				return err
			}
			return w.postgres.begin(ctx)
		},
	}
}

// filesExhausted leaves a server a few descriptors, and takes them by connections that say
// nothing.
func filesExhausted() fault {
	var over []func() error
	return fault{
		name: "files-exhausted", what: "a server with 20 descriptors to spare, flooded with connections", lasts: 8 * time.Second,
		begin: func(ctx context.Context, w *world) error {
			s := w.servers[0]
			now, err := s.vitals(ctx)
			if err != nil {
				return err
			}
			restore, err := limitFiles(s.process.Pid(), uint64(now[descriptors])+20)
			if err != nil {
				return err
			}
			over = append(over, restore)
			for range floodSize {
				conn, err := net.DialTimeout("tcp", address(s.port), time.Second) //nolint:noctx // loopback answers or refuses at once
				if err != nil {
					continue // what waits to be accepted is bounded
				}
				over = append(over, conn.Close)
			}
			return nil
		},
		end: func(context.Context, *world) error {
			var errs []error
			for _, end := range over {
				errs = append(errs, end())
			}
			return errors.Join(errs...)
		},
	}
}

// everything has faults come over one another, by chance: two at a time, of different kinds.
func everything() fault {
	return fault{
		name: "everything", what: "ten of the faults above, by chance, each beginning while the one before lasts",
		begin: func(ctx context.Context, w *world) error {
			var those, lasting []fault
			for _, group := range [][]fault{serverFaults[:1], postgresFaults, redisFaults, clientFaults, modelFaults} {
				those = append(those, slices.DeleteFunc(slices.Clone(group), func(f fault) bool { return f.lasts == 0 })...)
			}
			for range 10 {
				one := those[w.random.IntN(len(those))]
				for slices.ContainsFunc(lasting, one.isLike) {
					one = those[w.random.IntN(len(those))]
				}
				say("  %s", one.name)
				if err := one.begin(ctx, w); err != nil {
					return err
				}
				if err := pause(ctx, time.Duration(500+w.random.IntN(2500))*time.Millisecond); err != nil {
					return err
				}
				if lasting = append(lasting, one); len(lasting) == 2 {
					if err := lasting[0].end(ctx, w); err != nil {
						return err
					}
					lasting = lasting[1:]
				}
			}
			return lasting[0].end(ctx, w)
		},
		end: func(context.Context, *world) error { return nil },
	}
}

// isLike tells whether two break the same: what is broken in two ways at once cannot be
// mended in one, and a server does not start without its PostgreSQL.
func (f fault) isLike(other fault) bool {
	kind := func(f fault) string {
		name, _, _ := strings.Cut(f.name, "-")
		return strings.Replace(name, "server", "postgres", 1)
	}
	return kind(f) == kind(other)
}
