package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"strings"
	"time"

	"parley/internal/chat"
	"parley/internal/metrics"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/store"
	"parley/internal/wsapi"
)

// checkDebugAddr refuses an address at which others than the operator's own machines
// could look inside: profiles and metrics are told without asking for a key.
func checkDebugAddr(addr string) error {
	if addr == "" {
		return nil
	}
	if err := checkAddr(addr); err != nil {
		return err
	}
	if host, _, _ := net.SplitHostPort(addr); isPrivate(host) { // checked just now
		return nil
	}
	return fmt.Errorf("%q is not a private address: localhost, or an IP address of a loopback, private or link-local network, such as 127.0.0.1:6060", addr)
}

// isPrivate tells whether a host is an address that only its own network reaches.
func isPrivate(host string) bool {
	at, _ := netip.ParseAddr(host) // the zero Addr is as private as a name
	at = at.Unmap()
	return strings.EqualFold(host, "localhost") || at.IsLoopback() || at.IsPrivate() || at.IsLinkLocalUnicast()
}

// toPrivate refuses what a browser asks for on behalf of some page: the names of web
// sites can be made to lead to private addresses.
func toPrivate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if !isPrivate(host) || r.Header.Get("Sec-Fetch-Site") == "cross-site" {
			http.Error(w, "ask by the private address itself", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// listenForDebug takes the private address; nil where there is none to take.
func listenForDebug(ctx context.Context, config config) (net.Listener, error) {
	if config.DebugAddr == "" {
		return nil, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", config.DebugAddr)
	if err != nil {
		return nil, fmt.Errorf("listen (PARLEY_DEBUG_ADDR): %w", err)
	}
	return listener, nil
}

// profileTime is the longest that a profile or a trace may be taken.
const profileTime = 5 * time.Minute

// serveDebug serves profiles and metrics at a listener until stop is called, which cuts
// off what is still being told; nothing, at a nil one. Nothing of it is at the public
// address: that has a handler of its own, and nobody serves http.DefaultServeMux, where
// net/http/pprof puts itself.
func serveDebug(listener net.Listener, registry *metrics.Registry, log *slog.Logger) (stop func()) {
	if listener == nil {
		return func() {}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.Handle("GET /metrics", registry.Handler())
	server := &http.Server{
		Handler:           toPrivate(mux),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelInfo),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      profileTime,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("profiles and metrics are not served any more", "error", err)
		}
	}()
	log.Info("profiles and metrics are served", "address", "http://"+listener.Addr().String(), "paths", []string{"/debug/pprof/", "/metrics"})
	return func() {
		_ = server.Close() // whoever still looks has seen enough
		<-over
	}
}

// addMetrics adds the numbers that the parts of the service keep. They are read when
// somebody asks for them, and nothing is asked of the database for them.
func addMetrics(r *metrics.Registry, config config, store *store.Store, chats *chat.Chat, sockets *wsapi.Sockets, limiter *ratelimit.Limiter, link *realtime.Link) {
	gauge := func(name, help string, read func() float64) { r.Gauge(name, help, nil, read) }
	total := func(name, help string, labels metrics.Labels, read func() int64) {
		r.Counter(name, help, labels, func() float64 { return float64(read()) })
	}

	gauge("parley_sockets_open", "WebSockets that are open.", func() float64 { return float64(sockets.Open()) })
	total("parley_socket_frames_refused_total", "Frames of clients that were answered with an error.", nil, sockets.Refused)
	gauge("parley_replies_writing", "Replies that are being written.", func() float64 { return float64(chats.Stats().Writing) })
	gauge("parley_replies_waiting", "Replies known here that wait for their turn, or are written by another instance.", func() float64 { return float64(chats.Stats().Waiting) })
	gauge("parley_visits", "Anonymous visits that are served here.", func() float64 { return float64(chats.Stats().Visits) })
	const messages = "Messages of users and staff by what became of them: stored, or refused though well-formed."
	total("parley_messages_total", messages, metrics.Labels{"result": "stored"}, func() int64 { return chats.Stats().Stored })
	total("parley_messages_total", messages, metrics.Labels{"result": "refused"}, func() int64 { return chats.Stats().Refused })
	for class, refused := range limiter.Refused() {
		total("parley_rate_limited_total", "Requests and frames over a limit, by its class.", metrics.Labels{"class": class}, refused)
	}

	pool := store.Connections
	gauge("parley_database_connections_max", "How many connections to the database there may be.", func() float64 { return float64(pool().MaxConns()) })
	gauge("parley_database_connections_acquired", "Connections to the database that are in use.", func() float64 { return float64(pool().AcquiredConns()) })
	gauge("parley_database_connections_idle", "Connections to the database that are not in use.", func() float64 { return float64(pool().IdleConns()) })
	total("parley_database_acquires_total", "How often a connection to the database was taken.", nil, func() int64 { return pool().AcquireCount() })
	total("parley_database_waits_total", "How often somebody had to wait for a connection to the database.", nil, func() int64 { return pool().EmptyAcquireCount() })
	r.Counter("parley_database_wait_seconds_total", "How long was waited for connections to the database.", nil, func() float64 { return pool().EmptyAcquireWaitTime().Seconds() })

	gauge("parley_sends_waiting", "Messages and replies that wait to be committed with others.", func() float64 { return float64(store.Waiting().Statements) })
	gauge("parley_sends_waiting_bytes", "How large they are.", func() float64 { return float64(store.Waiting().Bytes) })
	gauge("parley_conversations_locked", "Conversations that others keep locked, so that what is sent to them is stored apart.", func() float64 { return float64(store.Waiting().Apart) })

	if link != nil {
		gauge("parley_redis_away", "1 while Redis is away, which joins the instances.", func() float64 { return oneIf(link.IsAway()) })
	}
	for name, isTaken := range config.Shortcuts.ByName() {
		r.Gauge("parley_shortcut", "1 where the shortcut is taken, 0 where the plain path is.", metrics.Labels{"name": name}, func() float64 { return oneIf(isTaken) })
	}
}

func oneIf(isSo bool) float64 {
	if isSo {
		return 1
	}
	return 0
}
