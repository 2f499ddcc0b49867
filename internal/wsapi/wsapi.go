// Package wsapi is the WebSocket door, GET /ws: a small adapter between sockets and
// conversations, of JSON text frames that the OpenAPI document describes.
//
// A socket watches one conversation, or one anonymous visit, and gets every message
// of it in the order of seq, without gap or duplicate: it keeps the seq that it has
// come to, sends what follows, drops what is older, and reads up from the
// conversation where something is missing. The socket that sent a message gets a
// `delivered` status in its place.
package wsapi

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/fault"
	"parley/internal/ratelimit"
)

const (
	// maxFrame is what a client's frame may have.
	maxFrame = 64 << 10
	// maxVisitorsPerAddress bounds the sockets of visitors from one address.
	maxVisitorsPerAddress = 50
)

// Config is what the sockets are served from.
type Config struct {
	Chat    *chat.Chat
	Limiter *ratelimit.Limiter
	Log     *slog.Logger
	// Origins are the browser origins, beside the server's own, that may connect.
	Origins []string
}

// Sockets serves WebSockets. It is safe for concurrent use.
type Sockets struct {
	Config
	patience patience
	visitors addressCount

	// mu orders the opening of sockets and the close: none opens after it.
	mu      sync.Mutex
	open    sync.WaitGroup
	closing context.Context
	close   context.CancelFunc
}

// patience is how long a client may keep the server waiting.
type patience struct {
	pingInterval time.Duration
	ping         time.Duration // for the answer to a ping
	write        time.Duration // for one frame to be taken
}

// New makes a Sockets; Close ends it.
func New(config Config) *Sockets {
	closing, cancel := context.WithCancel(context.Background())
	usual := patience{pingInterval: 25 * time.Second, ping: 20 * time.Second, write: 10 * time.Second}
	return &Sockets{Config: config, patience: usual, closing: closing, close: cancel}
}

// Close tells every socket that the server stops, and waits until they are closed
// or ctx is done.
func (s *Sockets) Close(ctx context.Context) {
	s.mu.Lock()
	s.close()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.open.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// enter counts a socket as open; false when the server stops.
func (s *Sockets) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing.Err() != nil {
		return false
	}
	s.open.Add(1)
	return true
}

// Connect serves one socket until it ends. What it refuses before the upgrade is
// returned as an error and nothing has been written then.
func (s *Sockets) Connect(w http.ResponseWriter, r *http.Request) error {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return fault.New(fault.InvalidRequest, "This address takes WebSockets only: the request must ask for an upgrade.")
	}
	if err := s.checkOrigin(r); err != nil {
		return err
	}
	if !s.enter() {
		return &fault.Error{Kind: fault.Unavailable, Message: "The server is stopping.", RetryAfter: time.Second}
	}
	defer s.open.Done()
	who := auth.PrincipalOf(r.Context())
	address, _, _ := net.SplitHostPort(r.RemoteAddr)
	if who.IsAnonymous() {
		if !s.visitors.enter(address) {
			return &fault.Error{Kind: fault.RateLimited, Message: "Too many visitors from this address.", RetryAfter: 5 * time.Second}
		}
		defer s.visitors.leave(address)
	}
	query := r.URL.Query()
	watch, err := s.watch(r.Context(), who, query)
	if err != nil {
		return err
	}
	defer watch.Close()

	options := &websocket.AcceptOptions{
		InsecureSkipVerify: true, // the origin was checked above
		CompressionMode:    websocket.CompressionDisabled,
	}
	if strings.HasPrefix(r.Header.Get("Sec-WebSocket-Protocol"), "bearer") {
		options.Subprotocols = []string{"bearer"}
	}
	conn, err := websocket.Accept(handshake{w}, r, options)
	if err != nil {
		return fault.Wrap(fault.InvalidRequest, "The WebSocket handshake is not valid.", err)
	}
	conn.SetReadLimit(maxFrame)
	opened := &socket{
		sockets: s,
		conn:    conn,
		watch:   watch,
		who:     who,
		address: address,
		cursor:  startOf(query, watch),
		streams: query.Get("stream") == "true",
		own:     make(map[uuid.UUID]string),
		log:     s.Log.With("session_id", watch.SessionID),
	}
	opened.serve(r.Context())
	return nil
}

// handshake lets only the upgrade through: what Accept would write of its refusals is
// told by whoever answers the error.
type handshake struct{ http.ResponseWriter }

// WriteHeader writes the upgrade.
func (h handshake) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		h.ResponseWriter.WriteHeader(status)
	}
}

// Write writes nothing.
func (h handshake) Write(body []byte) (int, error) { return len(body), nil }

// Unwrap leads to what can be hijacked.
func (h handshake) Unwrap() http.ResponseWriter { return h.ResponseWriter }

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
	return fault.New(fault.Forbidden, "Pages of this origin may not connect.")
}

// addressCount counts the open sockets of each address.
type addressCount struct {
	mu   sync.Mutex
	open map[string]int
}

func (c *addressCount) enter(address string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[address] >= maxVisitorsPerAddress {
		return false
	}
	if c.open == nil {
		c.open = make(map[string]int)
	}
	c.open[address]++
	return true
}

func (c *addressCount) leave(address string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[address]--; c.open[address] == 0 {
		delete(c.open, address)
	}
}
