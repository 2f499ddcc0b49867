// Package wsapi serves the WebSocket API, GET /ws. It adapts sockets to conversations. Frames are JSON
// text, as the OpenAPI document describes.
//
// A socket watches one conversation or one anonymous visit. Its client receives every message in the
// order of seq, without gaps or duplicates: the socket keeps a cursor, the seq of the newest message
// that the client has. It writes the message that follows the cursor, drops older ones, and reads a
// gap from the database. The socket that sent a message receives a delivered status instead of it.
//
// An idle socket costs one goroutine, its reader. Writers run on a worker pool that all sockets share,
// and one ticker sends the pings and enforces the timeouts of all sockets.
package wsapi

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/chat"
	"parley/internal/clientaddr"
	"parley/internal/feed"
	"parley/internal/origin"
	"parley/internal/ratelimit"
	"parley/internal/trace"
	"parley/internal/visit"
)

// Config is what a Server needs.
type Config struct {
	Chat    *chat.Chat
	Visits  *visit.Visits // nil refuses callers without credentials
	Limiter *ratelimit.Limiter
	Log     *slog.Logger
	// Origins are the browser origins that may connect, in addition to the server's own, as
	// origin.Parse returns them.
	Origins []string
	Limits  Limits
	// Traces records a span for each client message. nil disables tracing.
	Traces *trace.Tracer
}

// Server serves WebSockets. It is safe for concurrent use.
type Server struct {
	Config
	counter     socketCounter
	pool        workerPool
	eventFrames frameCache[eventKey]
	deltaFrames frameCache[deltaKey]

	opened  atomic.Int64             // sockets
	refused atomic.Int64             // frames of clients
	closed  map[string]*atomic.Int64 // sockets by label; the map itself never changes

	// mu orders the opening of sockets and Close: no socket opens after Close.
	mu         sync.Mutex
	isClosing  bool
	open       map[*socket]struct{}
	stopTicker chan struct{}  // closed when the last socket closes
	running    sync.WaitGroup // sockets and the ticker
}

// New returns a Server. Close stops it.
func New(config Config) *Server {
	config.Limits = config.Limits.withDefaults()
	closed := make(map[string]*atomic.Int64, len(closureLabels))
	for _, label := range closureLabels {
		closed[label] = new(atomic.Int64)
	}
	return &Server{Config: config, closed: closed, pool: workerPool{size: runtime.GOMAXPROCS(0)}, open: make(map[*socket]struct{})}
}

// Close closes every socket with the status closing, and waits until they are closed or ctx is done.
func (s *Server) Close(ctx context.Context) {
	s.mu.Lock()
	s.isClosing = true
	for socket := range s.open {
		socket.requestClose(errStopping)
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

// Open returns the number of open sockets.
func (s *Server) Open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// Refused returns how many frames of clients were answered with an error.
func (s *Server) Refused() int64 { return s.refused.Load() }

// Opened returns how many sockets were opened.
func (s *Server) Opened() int64 { return s.opened.Load() }

// Closed returns, for each reason, a function that returns how many sockets were closed for it.
func (s *Server) Closed() map[string]func() int64 {
	counts := make(map[string]func() int64, len(s.closed))
	for label, count := range s.closed {
		counts[label] = count.Load
	}
	return counts
}

// Connect opens a socket and returns without waiting for its end, so that the request can be freed. If
// it returns an error, the socket was refused before the upgrade and nothing was written to w.
func (s *Server) Connect(w http.ResponseWriter, r *http.Request) (err error) {
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		return apperr.Header("Upgrade", "must be websocket")
	}
	if err := checkHandshake(r); err != nil {
		return err
	}
	if err := s.checkOrigin(r); err != nil {
		return err
	}
	opened := &socket{
		server:      s,
		caller:      auth.PrincipalOf(r.Context()),
		wantsDeltas: r.URL.Query().Get("stream") == "true",
		wakeup:      make(chan struct{}, 1),
		results:     make(chan frameResult, 1),
		closed:      make(chan struct{}),
	}
	opened.address = clientaddr.Key(r.RemoteAddr)
	if err := s.acquire(opened); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			s.release(opened)
		}
	}()
	if opened.watch, opened.store, err = s.watch(r.Context(), opened.caller, r.URL.Query()); err != nil {
		return err
	}
	opened.cursor = startCursor(r.URL.Query(), opened.watch)
	if opened.conn, opened.tcp, err = upgrade(w, r, &s.pool); err != nil {
		return err
	}
	s.start(opened)
	return nil
}

// acquire counts a socket before it is opened, unless a limit is reached or the server is closing.
func (s *Server) acquire(socket *socket) error {
	if err := s.counter.acquire(s.Limits.quotas(socket)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosing {
		s.counter.release(s.Limits.quotas(socket))
		return &apperr.Error{Kind: apperr.Unavailable, Message: "The server is stopping. Connect again.", RetryAfter: time.Second}
	}
	s.running.Add(1)
	return nil
}

// release undoes acquire and ends the watch.
func (s *Server) release(socket *socket) {
	if socket.watch != nil {
		socket.watch.Close()
	}
	s.counter.release(s.Limits.quotas(socket))
	s.running.Done()
}

// start registers an upgraded socket and starts its reader. The first socket starts the ticker.
func (s *Server) start(socket *socket) {
	socket.touch()
	socket.watch.OnEvent(socket.wake)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isClosing {
		socket.requestClose(errStopping)
	}
	if len(s.open) == 0 {
		s.stopTicker = make(chan struct{})
		s.running.Add(1)
		go s.checkTimeouts(s.stopTicker)
	}
	s.open[socket] = struct{}{}
	s.opened.Add(1)
	socket.checkTimeouts(time.Now())
	go s.serve(socket)
}

// serve reads frames until the socket is closed, for whatever reason, and releases it. The last socket
// stops the ticker.
func (s *Server) serve(socket *socket) {
	defer s.release(socket)
	ctx := context.Background() // the context of the request has ended
	socket.wake()               // to write the connected frame
	socket.requestClose(socket.readFrames(ctx))
	socket.goroutines.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, socket)
	if len(s.open) == 0 {
		close(s.stopTicker)
	}
}

func (s *Server) clearFrameCaches() {
	s.eventFrames.clear()
	s.deltaFrames.clear()
}

// storeFunc stores a message of a client where its socket watches.
type storeFunc func(ctx context.Context, message chat.NewMessage) (chat.Sent, error)

// watch opens the conversation or visit that the query names, or a new one. It also returns how
// messages are stored there.
func (s *Server) watch(ctx context.Context, caller auth.Principal, query url.Values) (watch *feed.Watch, store storeFunc, err error) {
	session, botRef := optional(query, "session_id"), optional(query, "bot_id")
	switch {
	case caller.IsAnonymous() && s.Visits == nil:
		return nil, nil, apperr.New(apperr.Unauthorized, "This server does not serve anonymous visitors. Connect with an API key or a client token.")
	case caller.IsAnonymous():
		watch, err = s.Visits.Watch(ctx, session, botRef)
		return watch, func(ctx context.Context, message chat.NewMessage) (chat.Sent, error) {
			return s.sendToVisit(ctx, watch.SessionID, message)
		}, err
	case session != nil:
		watch, err = s.Chat.Watch(ctx, caller, *session)
	case caller.Bounds.Conversation != uuid.Nil:
		watch, err = s.Chat.Watch(ctx, caller, caller.Bounds.Conversation.String())
	default:
		watch, err = s.Chat.WatchNew(ctx, caller, botRef)
	}
	return watch, func(ctx context.Context, message chat.NewMessage) (chat.Sent, error) {
		return s.Chat.Send(ctx, caller, watch.SessionID.String(), message)
	}, err
}

// sendToVisit stores a visitor's message.
func (s *Server) sendToVisit(ctx context.Context, id uuid.UUID, message chat.NewMessage) (chat.Sent, error) {
	visitorMessage := visit.Message{
		ID: message.ID, Content: message.Content, HasAttachments: len(message.Attachments) > 0,
	}
	if message.IdempotencyKey != nil {
		visitorMessage.ClientID, visitorMessage.Hash = message.IdempotencyKey.Key, message.IdempotencyKey.Hash
	}
	sent, err := s.Visits.Send(ctx, id, visitorMessage)
	return chat.Sent{ConversationID: id, MessageID: sent.MessageID, Seq: sent.Seq, CreatedAt: sent.CreatedAt, IsReplayed: sent.IsReplayed}, err
}

func optional(query url.Values, name string) *string {
	if !query.Has(name) {
		return nil
	}
	return new(query.Get(name))
}

// startCursor returns the seq of the newest message that the client has: the parameter after, or by
// default the newest message.
func startCursor(query url.Values, watch *feed.Watch) int64 {
	if after, err := strconv.ParseInt(query.Get("after"), 10, 64); err == nil {
		return after
	}
	return watch.LastSeq
}

// checkOrigin refuses web pages of other origins. Requests of programs have no Origin header.
func (s *Server) checkOrigin(r *http.Request) error {
	sent := r.Header.Get("Origin")
	if sent == "" || origin.IsAllowed(s.Origins, sent) {
		return nil
	}
	if address, err := url.Parse(sent); err == nil && strings.EqualFold(address.Host, r.Host) {
		return nil
	}
	return apperr.New(apperr.Forbidden, "This origin is not allowed to connect.")
}
