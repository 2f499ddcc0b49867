package run_test

import (
	"bytes"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"parley/internal/apperr"
	"parley/internal/bottest"
	"parley/internal/chat"
	"parley/internal/chattest"
	"parley/internal/store"
)

// lossyProxy is a proxy to PostgreSQL that drops one response: the one to the first statement that contains a given
// word. It closes the connection of the statement instead.
type lossyProxy struct {
	socket string // of PostgreSQL
	word   []byte
	isUsed atomic.Bool // the response was dropped
	conns  sync.WaitGroup
}

// openLossyProxy returns the URL of a database behind a lossyProxy.
func openLossyProxy(t *testing.T, database, word string) string {
	t.Helper()
	config, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, socket := pgconn.NetworkAddress(config.Host, config.Port)
	p := &lossyProxy{socket: socket, word: []byte(word)}
	t.Cleanup(func() {
		listener.Close()
		p.conns.Wait()
	})
	p.conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			p.serve(conn)
		}
	})
	return (&url.URL{Scheme: "postgres", User: url.User(config.User), Host: listener.Addr().String(), Path: config.Database, RawQuery: "sslmode=disable"}).String()
}

func (p *lossyProxy) serve(client net.Conn) {
	server, err := net.Dial("unix", p.socket)
	if err != nil {
		client.Close()
		return
	}
	var drops atomic.Bool
	p.conns.Go(func() {
		forward(server, client, func(block []byte) bool {
			if bytes.Contains(block, p.word) && p.isUsed.CompareAndSwap(false, true) {
				drops.Store(true)
			}
			return true
		})
	})
	p.conns.Go(func() { forward(client, server, func([]byte) bool { return !drops.Load() }) })
}

// forward copies data until may rejects a block, and then closes both connections.
func forward(to, from net.Conn, mayPass func([]byte) bool) {
	defer from.Close()
	defer to.Close()
	block := make([]byte, 32<<10)
	for {
		count, err := from.Read(block)
		if err != nil || !mayPass(block[:count]) {
			return
		}
		if _, err := to.Write(block[:count]); err != nil {
			return
		}
	}
}

// A message whose commit is in doubt is answered before the lease of its run expires.
func TestRunInDoubtIsSettled(t *testing.T) {
	t.Parallel()
	const word = "Is anybody there?"
	c := chattest.NewCluster(t)
	s, err := store.Open(t.Context(), openLossyProxy(t, c.URL, word))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	d := chattest.NewDomain(chattest.Config{Store: s, Bots: bottest.New(s, nil)})
	d.Start()
	t.Cleanup(func() { d.Close(t.Context()) })
	begun, err := d.Begin(t.Context(), c.Caller, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}

	_, err = d.Send(t.Context(), c.Caller, begun.ConversationID.String(), chat.NewMessage{Content: word})
	chattest.WantKind(t, err, apperr.Unavailable)
	began := time.Now()
	chattest.Eventually(t, "the message is answered", func() bool {
		return c.Count("SELECT count(*) FROM message_history WHERE session_id = $1 AND sender = 'bot'", begun.ConversationID) == 1
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the answer took %s, about as long as the lease", took)
	}
}
