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

// network leads to PostgreSQL. It may forget its connections: they stay open, and what is
// sent over them is lost.
type network struct {
	url         string
	path        string
	isForgotten atomic.Pointer[atomic.Bool] // of the connections that are made now
	conns       sync.WaitGroup
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
	n.isForgotten.Store(new(atomic.Bool))
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
			n.lead(ctx, conn, n.isForgotten.Load())
		}
	})
	return n
}

func (n *network) lead(ctx context.Context, from net.Conn, isForgotten *atomic.Bool) {
	to, err := net.Dial("unix", n.path)
	if err != nil {
		from.Close()
		return
	}
	end := context.AfterFunc(ctx, func() { from.Close(); to.Close() })
	carry := func(to, from net.Conn) {
		defer end()
		defer from.Close()
		defer to.Close()
		block := make([]byte, 32<<10)
		for {
			count, err := from.Read(block)
			if err != nil {
				return
			}
			if isForgotten.Load() {
				continue
			}
			if _, err := to.Write(block[:count]); err != nil {
				return
			}
		}
	}
	n.conns.Go(func() { carry(to, from) })
	n.conns.Go(func() { carry(from, to) })
}

// forget loses what is sent from now on; recall lets new connections work again.
func (n *network) forget() { n.isForgotten.Load().Store(true) }
func (n *network) recall() { n.isForgotten.Store(new(atomic.Bool)) }

// A network that has forgotten its connections is no reason to wait for an answer over each
// of them, nor over those that were being opened meanwhile.
func TestForgottenConnectionsAreGivenUp(t *testing.T) {
	t.Parallel()
	// given as many connections as there may be
	n := newNetwork(t)
	s := open(t, n.url)
	crowd := func() {
		var all sync.WaitGroup
		for range 2 * s.PoolStats().MaxConns() {
			all.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, _ = store.Raw(s).Exec(ctx, "SELECT pg_sleep(0.1)") // fails while nothing comes through
			})
		}
		all.Wait()
	}
	crowd()
	if total := s.PoolStats().TotalConns(); total < s.PoolStats().MaxConns() {
		t.Fatalf("there are only %d connections", total)
	}

	// when the network forgets them, and those that are opened then
	n.forget()
	crowd()
	crowd()
	n.recall()

	// then one caller who asks again and again soon has an answer
	began := time.Now()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		err := s.Ready(ctx)
		cancel()
		if err == nil {
			break
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Fatalf("after %s: %v", took, err)
		}
	}
}

// Whoever waits without a limit of their own is told when nothing comes.
func TestAStatementWithoutAnAnswerIsUnavailable(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	s, err := store.Open(t.Context(), n.url+"&connect_timeout=1", store.WithSilence(500*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.CountOrganizations(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.forget()
	for range 2 { // over the connection that there is, and one that is being made
		_, err = s.CountOrganizations(t.Context())
		expect(t, err, apperr.Unavailable, "The database cannot be reached at the moment.")
	}
}
