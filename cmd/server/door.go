package main

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"parley/internal/chat"
	"parley/internal/httpapi"
	"parley/internal/wsapi"
)

const (
	// replyGrace is how long replies may go on being written once the server stops.
	replyGrace = 20 * time.Second
	// requestGrace is how long requests may go on after the replies are written.
	requestGrace = 5 * time.Second
)

// door is where requests come in, from the first moment of a start, when each is told
// that nothing is ready yet, to the end of a stop.
type door struct {
	server     *http.Server
	inside     atomic.Pointer[http.Handler]
	isStopping atomic.Bool
	failed     chan error // why it is closed, other than by us
}

// newDoor opens a door behind which there is nothing yet.
func newDoor(listener net.Listener, log *slog.Logger) *door {
	d := &door{failed: make(chan error, 1)}
	d.lead(httpapi.Starting(log))
	d.server = &http.Server{
		Handler:           d,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelInfo),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       60 * time.Second,
		// Longer than a completion may wait; streams set their own.
		WriteTimeout:   150 * time.Second,
		IdleTimeout:    120 * time.Second,
		MaxHeaderBytes: 64 << 10,
	}
	go func() { d.failed <- d.server.Serve(listener) }() // until it is closed
	return d
}

// lead has requests answered by a handler from now on.
func (d *door) lead(handler http.Handler) { d.inside.Store(&handler) }

// ServeHTTP has a request answered. Of a server that is to stop, each answer is the last
// one on its connection: the caller's next one leads to another server.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if d.isStopping.Load() {
		w.Header().Set("Connection", "close")
	}
	(*d.inside.Load()).ServeHTTP(w, r)
}

// drain goes on serving for a time, or until what must not be lost is, while /readyz says
// that this server is not to be asked any more.
func (d *door) drain(duration time.Duration, lost <-chan struct{}) {
	d.isStopping.Store(true)
	select {
	case <-time.After(duration):
	case <-lost:
	}
}

// close takes no more requests and lets those that there are be answered: the sockets
// are told to go elsewhere, the replies are written, and with them the streams end.
func (d *door) close(sockets *wsapi.Server, chats *chat.Chat, log *slog.Logger) {
	d.isStopping.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), replyGrace+requestGrace)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- d.server.Shutdown(ctx) }()
	replies, cancelReplies := context.WithTimeout(ctx, replyGrace)
	defer cancelReplies()
	sockets.Close(replies)
	chats.Close(replies)
	if err := <-closed; err != nil {
		log.Info("some requests were cut off", "error", err)
		d.slam()
	}
}

// slam cuts off all that is still going on.
func (d *door) slam() { _ = d.server.Close() }
