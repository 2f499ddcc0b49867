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

	"parley/internal/metrics"
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
