// Package wsapi is the WebSocket door, GET /ws: a small adapter between sockets and
// conversations, of JSON text frames that the OpenAPI document describes.
//
// A socket watches one conversation, or one anonymous visit, and gets every message
// of it in the order of seq, without gap or duplicate: it keeps the seq that it has
// come to, sends what follows, drops what is older, and reads up from the
// conversation where something is missing. The socket that sent a message gets a
// `delivered` status in its place.
//
// A silent socket is one goroutine, which reads. What is to be written is written by a
// crew for all sockets, which is there only while there is something to write; pings
// and all limits of time come from one clock.
package wsapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/ratelimit"
	"parley/internal/trace"
)

// maxFrame is what a client's frame may have.
const maxFrame = 64 << 10

// Config is what the sockets are served from.
type Config struct {
	Chat    *chat.Chat
	Limiter *ratelimit.Limiter
	Log     *slog.Logger
	// Origins are the browser origins, beside the server's own, that may connect.
	Origins []string
	Limits  Limits
	// Traces follows the messages of clients; nil: nobody does.
	Traces *trace.Tracer
}

// Sockets serves WebSockets. It is safe for concurrent use.
type Sockets struct {
	Config
	places places
	crew   crew
	// refused counts the frames of clients that were not taken, opened the sockets, and
	// closed how they ended.
	refused, opened atomic.Int64
	closed          map[string]*atomic.Int64

	// mu orders the opening of sockets and the close: none opens after it.
	mu        sync.Mutex
	isClosing bool
	open      map[*socket]struct{}
	stopClock chan struct{} // while any is open
	running   sync.WaitGroup
}

// New makes a Sockets; Close ends it.
func New(config Config) *Sockets {
	config.Limits = config.Limits.withDefaults()
	closed := make(map[string]*atomic.Int64, len(endings))
	for _, ending := range endings {
		closed[ending] = new(atomic.Int64)
	}
	return &Sockets{Config: config, closed: closed, crew: crew{size: runtime.GOMAXPROCS(0)}, open: make(map[*socket]struct{})}
}

// Close tells every socket that the server stops, and waits until they are closed
// or ctx is done.
func (s *Sockets) Close(ctx context.Context) {
	s.mu.Lock()
	s.isClosing = true
	for one := range s.open {
		one.end(errClosing)
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// Open returns how many sockets are open.
func (s *Sockets) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Refused returns how many frames of clients were answered with an error.
func (s *Sockets) Refused() int64 { return s.refused.Load() }

// Opened returns how many sockets were opened.
func (s *Sockets) Opened() int64 { return s.opened.Load() }

// Closed returns how many sockets were closed for each of the reasons that there are, as it
// is read then.
func (s *Sockets) Closed() map[string]func() int64 {
	counts := make(map[string]func() int64, len(s.closed))
	for ending, count := range s.closed {
		counts[ending] = count.Load
	}
	return counts
}

// Connect opens a socket, which is then served until it ends; it does not wait for
// that, so that nothing of the request is kept. What it refuses before the upgrade is
// returned as an error and nothing has been written then.
func (s *Sockets) Connect(w http.ResponseWriter, r *http.Request) (err error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return apperr.New(apperr.InvalidRequest, "This address takes WebSockets only: the request must ask for an upgrade.")
	}
	if err := checkHandshake(r); err != nil {
		return err
	}
	if err := s.checkOrigin(r); err != nil {
		return err
	}
	opened := &socket{
		sockets: s,
		who:     auth.PrincipalOf(r.Context()),
		streams: r.URL.Query().Get("stream") == "true",
		woken:   make(chan struct{}, 1),
		answers: make(chan incoming, 1),
		over:    make(chan struct{}),
	}
	opened.address, _, _ = net.SplitHostPort(r.RemoteAddr)
	if err := s.enter(opened); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.leave(opened)
		}
	}()
	if opened.watch, err = s.watch(r.Context(), opened.who, r.URL.Query()); err != nil {
		return err
	}
	opened.cursor = startOf(r.URL.Query(), opened.watch)
	if opened.conn, opened.line, err = upgrade(w, r, &s.crew); err != nil {
		return err
	}
	s.serve(opened)
	return nil
}

// enter takes the places of a socket that is to be opened.
func (s *Sockets) enter(one *socket) error {
	if err := s.places.take(s.Limits.claims(one)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosing {
		s.places.leave(s.Limits.claims(one))
		return &apperr.Error{Kind: apperr.Unavailable, Message: "The server is stopping.", RetryAfter: time.Second}
	}
	s.running.Add(1)
	return nil
}

// leave gives back what a socket has taken.
func (s *Sockets) leave(one *socket) {
	if one.watch != nil {
		one.watch.Close()
	}
	s.places.leave(s.Limits.claims(one))
	s.running.Done()
}

// serve begins to serve a socket that is open.
func (s *Sockets) serve(one *socket) {
	one.note()
	one.watch.OnEvent(one.wake)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosing {
		one.end(errClosing)
	}
	if len(s.open) == 0 {
		s.stopClock = make(chan struct{})
		s.running.Add(1)
		go s.runClock(s.stopClock)
	}
	s.open[one] = struct{}{}
	s.opened.Add(1)
	one.look(time.Now())
	go s.run(one)
}

// run serves a socket until it ends, for whatever reason.
func (s *Sockets) run(one *socket) {
	defer s.leave(one)
	// The request that has opened the socket is over.
	ctx := context.Background()
	one.wake() // to be greeted
	one.end(one.read(ctx))
	one.helpers.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, one)
	if len(s.open) == 0 {
		close(s.stopClock)
	}
}

func (s *Sockets) watch(ctx context.Context, who auth.Principal, query url.Values) (*chat.Watch, error) {
	session, botRef := optional(query, "session_id"), optional(query, "bot_id")
	switch {
	case who.IsAnonymous():
		return s.Chat.Visit(ctx, session, botRef)
	case session != nil:
		return s.Chat.Watch(ctx, who, *session)
	case who.Bounds.Conversation != uuid.Nil:
		return s.Chat.Watch(ctx, who, who.Bounds.Conversation.String())
	}
	return s.Chat.WatchNew(ctx, who, botRef)
}

func optional(query url.Values, name string) *string {
	if !query.Has(name) {
		return nil
	}
	return new(query.Get(name))
}

// startOf is the seq from which the socket goes on: where the client says it has
// come to, else the newest.
func startOf(query url.Values, watch *chat.Watch) int64 {
	if after, err := strconv.ParseInt(query.Get("after"), 10, 64); err == nil {
		return after
	}
	return watch.LastSeq
}

// checkOrigin refuses pages of foreign origins; programs send none.
func (s *Sockets) checkOrigin(r *http.Request) error {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(s.Origins, "*") || slices.Contains(s.Origins, strings.ToLower(origin)) {
		return nil
	}
	if address, err := url.Parse(origin); err == nil && strings.EqualFold(address.Host, r.Host) {
		return nil
	}
	return apperr.New(apperr.Forbidden, "Pages of this origin may not connect.")
}
