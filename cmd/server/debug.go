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

// parseDebugAddr refuses a public address, because profiles and metrics are served without a key.
func parseDebugAddr(addr string) (string, error) {
	if _, err := parseAddr(addr); err != nil {
		return "", err
	}
	if host, _, _ := net.SplitHostPort(addr); isPrivate(host) { // parseAddr has checked the syntax
		return addr, nil
	}
	return "", fmt.Errorf("%q must be a private address: localhost, or an IP address of a loopback, private or link-local network, such as 127.0.0.1:6060", addr)
}

// isPrivate reports whether a host is localhost or an address that only its own network can reach.
func isPrivate(host string) bool {
	addr, _ := netip.ParseAddr(host) // the zero Addr of a name is not private
	addr = addr.Unmap()
	return strings.EqualFold(host, "localhost") || addr.IsLoopback() || addr.IsPrivate() || addr.IsLinkLocalUnicast()
}

// requirePrivateHost refuses requests that a browser sends on behalf of a web page. The name of a web site
// can resolve to a private address (DNS rebinding), so the Host header must be a private address itself.
func requirePrivateHost(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = strings.Trim(r.Host, "[]")
		}
		if !isPrivate(host) || r.Header.Get("Sec-Fetch-Site") == "cross-site" {
			http.Error(w, "The Host header must be the private address itself.", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// listenForDebug opens the debug address. The listener is nil if none is configured.
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

// profileTimeout is the longest duration of a profile or an execution trace.
const profileTimeout = 5 * time.Minute

// serveDebug serves profiles and metrics until stop is called, which aborts requests in progress. A nil
// listener serves nothing. The public server never serves http.DefaultServeMux, where net/http/pprof
// registers itself.
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
		Handler:           requirePrivateHost(mux),
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelInfo),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      profileTimeout,
		IdleTimeout:       120 * time.Second,
		MaxHeaderBytes:    64 << 10,
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			log.Error("serve profiles and metrics", "err", err)
		}
	}()
	log.Info("serve profiles and metrics", "address", "http://"+listener.Addr().String(), "paths", []string{"/debug/pprof/", "/metrics"})
	return func() {
		_ = server.Close()
		<-done
	}
}
