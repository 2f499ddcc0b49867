package chat_test

import (
	"bytes"
	"log/slog"
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
	"parley/internal/shortcuts"
	"parley/internal/store"
)

// losing leads to a database, but for the answer to whoever is the first to say the word:
// their connection ends when it comes.
func losing(t *testing.T, database, word string) (address string) {
	t.Helper()
	to, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, socket := pgconn.NetworkAddress(to.Host, to.Port)
	var conns sync.WaitGroup
	var isLost atomic.Bool
	t.Cleanup(func() {
		listener.Close()
		conns.Wait()
	})
	lead := func(from net.Conn) {
		to, err := net.Dial("unix", socket)
		if err != nil {
			from.Close()
			return
		}
		var isSaid atomic.Bool
		carry := func(to, from net.Conn, mayPass func([]byte) bool) {
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
		conns.Go(func() {
			carry(to, from, func(said []byte) bool {
				if bytes.Contains(said, []byte(word)) && isLost.CompareAndSwap(false, true) {
					isSaid.Store(true)
				}
				return true
			})
		})
		conns.Go(func() { carry(from, to, func([]byte) bool { return !isSaid.Load() }) })
	}
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			lead(conn)
		}
	})
	return (&url.URL{Scheme: "postgres", User: url.User(to.User), Host: listener.Addr().String(), Path: to.Database, RawQuery: "sslmode=disable"}).String()
}

// A message may be stored though nobody could be told. It is answered soon, and not only when
// the lease of the server that has stored it is over.
func TestAMessageThatNobodyKnowsToBeStoredIsAnsweredSoon(t *testing.T) {
	t.Parallel()
	const word = "Is anybody there?"
	h := newCluster(t)
	s, err := store.Open(t.Context(), losing(t, h.url, word))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	c := chat.New(chat.Config{Store: s, Bots: bottest.New(s, nil), Log: slog.New(slog.DiscardHandler), VisitTTL: time.Minute, Shortcuts: shortcuts.All()})
	c.Start()
	t.Cleanup(func() { c.Close(t.Context()) })
	begun, err := c.Begin(t.Context(), h.who, nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}

	_, err = c.Send(t.Context(), h.who, begun.ConversationID.String(), chat.NewMessage{Content: word})
	refused(t, err, apperr.Unavailable)
	began := time.Now()
	eventually(t, "it is answered", func() bool {
		var answers int
		err := h.sql.QueryRow(t.Context(), "SELECT count(*) FROM message_history WHERE session_id = $1 AND sender = 'bot'", begun.ConversationID).Scan(&answers)
		return err == nil && answers == 1
	})
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}
