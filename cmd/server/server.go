package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"parley/internal/httpapi"
	"parley/internal/run"
	"parley/internal/visit"
	"parley/internal/wsapi"
)

const (
	// replyGracePeriod is how long replies in progress may continue during shutdown.
	replyGracePeriod = 20 * time.Second
	// requestGracePeriod is how long requests may continue after that.
	requestGracePeriod = 5 * time.Second
)

// server is the public HTTP server. It listens from the start of the process, when it answers every
// request with 503, to the end of the shutdown.
type server struct {
	http       *http.Server
	handler    atomic.Pointer[http.Handler]
	isStopping atomic.Bool
	failed     chan error // receives the error of Serve
}

// newServer starts a server that answers every request with 503 until setHandler is called.
func newServer(listener net.Listener, log *slog.Logger) *server {
	s := &server{failed: make(chan error, 1)}
	s.setHandler(httpapi.Starting(log))
	s.http = &http.Server{
		Handler:           s,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelInfo),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		// Longer than the wait for a completion. Streams set their own deadline.
		WriteTimeout:   150 * time.Second,
		IdleTimeout:    120 * time.Second,
		MaxHeaderBytes: 64 << 10,
	}
	go func() { s.failed <- s.http.Serve(listener) }()
	return s
}

// setHandler replaces the handler. It may be called while requests are served.
func (s *server) setHandler(handler http.Handler) { s.handler.Store(&handler) }

// ServeHTTP passes a request to the handler. While the server is stopping, each response closes its
// connection, so that the client's next request reaches another instance.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.isStopping.Load() {
		w.Header().Set("Connection", "close")
	}
	(*s.handler.Load()).ServeHTTP(w, r)
}

// drain makes /readyz answer 503 and continues to serve for a time, or until the private PostgreSQL has
// exited.
func (s *server) drain(duration time.Duration, postgresExited <-chan struct{}) {
	s.isStopping.Store(true)
	select {
	case <-time.After(duration):
	case <-postgresExited:
	}
}

// shutdown accepts no more requests and waits for those in progress: it closes the sockets with the
// status closing, and lets replies finish, which ends their streams. Requests that exceed the grace
// periods are aborted.
func (s *server) shutdown(sockets *wsapi.Server, runs *run.Dispatcher, visits *visit.Visits, log *slog.Logger) {
	s.isStopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), replyGracePeriod+requestGracePeriod)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.http.Shutdown(ctx) }()
	replies, cancelReplies := context.WithTimeout(ctx, replyGracePeriod)
	defer cancelReplies()
	sockets.Close(replies)
	runs.Close(replies)
	visits.Close(replies)
	if err := <-done; err != nil {
		log.Info("abort requests", "err", err)
		s.close()
	}
}

// close aborts all requests.
func (s *server) close() { _ = s.http.Close() }
