package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"time"

	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/faq"
	"parley/internal/feed"
	"parley/internal/httpapi"
	"parley/internal/inbox"
	"parley/internal/localpg"
	"parley/internal/metrics"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/records"
	"parley/internal/run"
	"parley/internal/store"
	"parley/internal/trace"
	"parley/internal/visit"
	"parley/internal/wsapi"
)

// postgresGracePeriod is how long the private PostgreSQL may take to stop.
const postgresGracePeriod = 10 * time.Second

// serve runs the server until ctx is done.
//
// Start order: the addresses are opened first, so that a busy port is reported at once. Until the
// database is migrated and everything else is ready, requests are answered with 503.
//
// Shutdown order, which is that of the deferred calls:
//  1. drain: /readyz answers 503, and requests are still served
//  2. shutdown: no new requests; sockets are closed, replies finish, then the remaining requests
//  3. the search index, exports, and the debug server stop
//  4. the instance unregisters and disconnects from Redis
//  5. the database pool closes, and the private PostgreSQL stops
//  6. traces are flushed, and the listeners close
func serve(ctx context.Context, config config, log *slog.Logger, out io.Writer) error {
	if err := requireSecretKey(config); err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", config.Addr)
	if err != nil {
		return fmt.Errorf("listen (PARLEY_ADDR): %w", err)
	}
	defer listener.Close()
	debugListener, err := listenForDebug(ctx, config)
	if err != nil {
		return err
	}
	if debugListener != nil {
		defer debugListener.Close() // for a failed start; otherwise serveDebug has closed it
	}
	log.Debug("start server", "address", listener.Addr().String())
	server := newServer(listener, log)
	defer server.close() // for a failed start; otherwise shutdown has closed it
	traces, log, err := openTraces(ctx, config, log)
	if err != nil {
		return err
	}
	defer traces.Close()
	return withStore(ctx, config, log, traces, func(store *store.Store, postgresExited <-chan struct{}) error {
		secrets, err := loadSecretKeys(config)
		if err != nil {
			return err
		}
		key, err := bootstrap(ctx, store, config)
		if err != nil {
			return err
		}
		redis, disconnect, err := connectInstances(ctx, store, config, log)
		if err != nil {
			return err
		}
		defer disconnect()
		authenticator := auth.New(store, auth.WithKeys(secrets), auth.WithTickets(realtime.NewOneTimeStore(redis)))
		if key, err = validKey(ctx, authenticator, key); err != nil {
			return err
		}
		registry := metrics.New()
		engines, models := newEngines(store, secrets, traces)
		bots := bot.New(store, engines, bot.WithKeys(secrets), bot.WithFirstTokens(firstTokens(registry, engines.Names())))
		if err := applyModel(ctx, store, bots, config); err != nil {
			return err
		}
		feeds := feed.New(feed.Config{Store: store, Redis: redis, Log: log, WatchQueue: config.SocketQueue})
		runs := run.New(run.Config{
			Store:                     store,
			Bots:                      bots,
			Feed:                      feeds,
			Log:                       log,
			MaxReplies:                config.Replies.Instance,
			MaxRepliesPerOrganization: config.Replies.Organization,
			IsSole:                    config.DatabaseURL == "",
			Traces:                    traces,
		})
		visits := visit.New(visit.Config{
			Store: store, Bots: bots, Feed: feeds, Log: log, Redis: redis, TTL: config.AnonymousTTL, MaxReplies: config.Replies.Instance,
		})
		chats := chat.New(chat.Config{
			Store: store, Bots: bots, Feed: feeds, Runs: runs, Log: log, SearchIndex: config.SearchIndex, Traces: traces,
		})
		recordStore := records.New(store)
		limiter := ratelimit.NewShared(config.RateLimits, redis)
		sockets := wsapi.New(wsapi.Config{Chat: chats, Visits: visits, Limiter: limiter, Log: log, Origins: config.AllowedOrigins, Limits: config.Sockets, Traces: traces})
		addMetrics(registry, components{server, store, models, chats, runs, visits, recordStore, sockets, limiter, redis})
		defer serveDebug(debugListener, registry, log)()
		handler, err := httpapi.New(httpapi.Config{
			Auth:    authenticator,
			Bots:    bots,
			FAQs:    faq.New(store, bots),
			Chat:    chats,
			Runs:    runs,
			Inboxes: inbox.New(store, bots),
			Records: recordStore,
			Audit:   audit.New(store),
			Limiter: limiter,
			Connect: sockets.Connect,
			Log:     log,
			Origins: config.AllowedOrigins,
			Ready: func(ctx context.Context) error {
				if server.isStopping.Load() {
					return errors.New("the server is stopping")
				}
				return store.Ready(ctx)
			},
			Link:     redis,
			Requests: metrics.NewRequests(registry),
			Traces:   traces,
		})
		if err != nil {
			return err
		}
		defer recordStore.Start(log)()
		feeds.Start()
		defer feeds.Close()
		chats.Start()
		defer chats.Close()
		runs.Start()
		visits.Start()
		defer maintainSearchIndex(ctx, store, log, config.SearchIndex)()
		defer server.shutdown(sockets, runs, visits, log)

		server.setHandler(handler)
		printReady(out, listener.Addr(), key)
		select {
		case <-ctx.Done():
			log.Info("stop server", "drain_ms", config.Drain.Milliseconds())
			server.drain(config.Drain, postgresExited)
			return nil
		case <-postgresExited:
			return fmt.Errorf("the private PostgreSQL exited unexpectedly; see its log %s", filepath.Join(config.DataDir, "postgres.log"))
		case err := <-server.failed:
			return fmt.Errorf("serve: %w", err)
		}
	})
}

// openTraces starts to export traces if the configuration says so. The returned logger then adds the
// trace and span to each line.
func openTraces(ctx context.Context, config config, log *slog.Logger) (*trace.Tracer, *slog.Logger, error) {
	if !config.Traces {
		return nil, log, nil
	}
	log = slog.New(trace.LogHandler(log.Handler()))
	traces, err := trace.Open(ctx, version(), log)
	return traces, log, err
}

// connectInstances registers this instance at the database and connects to Redis, or warns if there are
// other instances and no Redis. The returned Redis is nil without REDIS_URL. disconnect undoes both.
func connectInstances(ctx context.Context, store *store.Store, config config, log *slog.Logger) (redis *realtime.Redis, disconnect func(), err error) {
	others, unregister, err := store.Register(ctx)
	if err != nil {
		return nil, nil, err
	}
	if config.RedisURL == "" {
		if others > 0 {
			log.Warn("run several instances without REDIS_URL: each instance counts rate limits separately, an anonymous visit exists on one instance only, "+
				"replies are streamed only by the instance that writes them, and messages of other instances arrive seconds later", "other_instances", others)
		}
		return nil, unregister, nil
	}
	if redis, err = realtime.Open(ctx, config.RedisURL, log); err != nil {
		unregister()
		return nil, nil, err
	}
	return redis, func() { redis.Close(); unregister() }, nil
}

// maintainSearchIndex creates or drops the search index in the background. stop cancels that and waits.
func maintainSearchIndex(ctx context.Context, store *store.Store, log *slog.Logger, enabled bool) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { store.MaintainSearchIndex(ctx, log, enabled) })
	return func() { cancel(); work.Wait() }
}

// withStore calls fn with a store on the database of withDatabase.
func withStore(ctx context.Context, config config, log *slog.Logger, traces *trace.Tracer, fn func(store *store.Store, postgresExited <-chan struct{}) error) error {
	return withDatabase(ctx, config, log, func(databaseURL string, postgresExited <-chan struct{}) error {
		opened, err := store.Open(ctx, databaseURL, store.WithLog(log), store.WithTraces(traces))
		if err != nil {
			return err
		}
		defer opened.Close()
		return fn(opened, postgresExited)
	})
}

// withDatabase calls fn with the URL of the database: DATABASE_URL, or a private PostgreSQL that runs
// until fn returns. postgresExited is closed if the private PostgreSQL exits before.
func withDatabase(ctx context.Context, config config, log *slog.Logger, fn func(databaseURL string, postgresExited <-chan struct{}) error) (err error) {
	if config.DatabaseURL != "" {
		return fn(config.DatabaseURL, nil)
	}
	postgres, err := localpg.Start(ctx, localpg.Config{Dir: config.DataDir, BinDir: config.PostgresBin, Logger: log})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), postgresGracePeriod)
		defer cancel()
		if stopErr := postgres.Stop(ctx); err == nil {
			err = stopErr
		}
	}()
	return fn(postgres.URL("postgres"), postgres.Done())
}
