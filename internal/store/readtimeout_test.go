package store_test

import (
	"context"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"parley/internal/apperr"
	"parley/internal/dbtest"
	"parley/internal/store"
)

// network is a proxy to PostgreSQL that can drop its connections. Dropped connections stay open and lose all data.
type network struct {
	url     string
	path    string
	dropped atomic.Pointer[atomic.Bool] // whether new connections are dropped
	conns   sync.WaitGroup
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	to, err := pgx.ParseConfig(dbtest.URL(t))
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := new(network)
	n.url = (&url.URL{Scheme: "postgres", User: url.User(to.User), Host: listener.Addr().String(), Path: to.Database, RawQuery: "sslmode=disable"}).String()
	_, n.path = pgconn.NetworkAddress(to.Host, to.Port)
	n.dropped.Store(new(atomic.Bool))
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		listener.Close()
		n.conns.Wait()
	})
	n.conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			n.forward(ctx, conn, n.dropped.Load())
		}
	})
	return n
}

func (n *network) forward(ctx context.Context, from net.Conn, dropped *atomic.Bool) {
	to, err := net.Dial("unix", n.path)
	if err != nil {
		from.Close()
		return
	}
	end := context.AfterFunc(ctx, func() { from.Close(); to.Close() })
	copyBytes := func(to, from net.Conn) {
		defer end()
		defer from.Close()
		defer to.Close()
		block := make([]byte, 32<<10)
		for {
			count, err := from.Read(block)
			if err != nil {
				return
			}
			if dropped.Load() {
				continue
			}
			if _, err := to.Write(block[:count]); err != nil {
				return
			}
		}
	}
	n.conns.Go(func() { copyBytes(to, from) })
	n.conns.Go(func() { copyBytes(from, to) })
}

// drop discards all data from now on. restore makes new connections work again.
func (n *network) drop()    { n.dropped.Load().Store(true) }
func (n *network) restore() { n.dropped.Store(new(atomic.Bool)) }

// One dead connection closes all idle ones. Connections that are being opened time out.
func TestDroppedConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	// given a full pool
	n := newNetwork(t)
	s := open(t, n.url)
	load := func() {
		var queries sync.WaitGroup
		for range 2 * s.PoolStats().MaxConns() {
			queries.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, _ = store.Raw(s).Exec(ctx, "SELECT pg_sleep(0.1)") // the request fails while the connections are dropped
			})
		}
		queries.Wait()
	}
	load()
	if total := s.PoolStats().TotalConns(); total < s.PoolStats().MaxConns() {
		t.Fatalf("there are %d connections, want a full pool", total)
	}

	// when the network drops them, and connections that are opened meanwhile
	n.drop()
	load()
	load()
	n.restore()

	// then retries soon succeed
	start := time.Now()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := s.Ready(ctx)
		cancel()
		if err == nil {
			break
		}
		if took := time.Since(start); took > 10*time.Second {
			t.Fatalf("after %s: %v", took, err)
		}
	}
}

func TestStatementWithoutAResponseTimesOut(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	s, err := store.Open(t.Context(), n.url+"&connect_timeout=1", store.WithReadTimeout(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.CountOrganizations(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.drop()
	for range 2 { // on the open connection, and on one that is being opened
		_, err = s.CountOrganizations(t.Context())
		expectError(t, err, apperr.Unavailable, unavailable)
	}
}
