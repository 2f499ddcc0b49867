package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
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
	"parley/internal/llm"
	"parley/internal/localpg"
	"parley/internal/metrics"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/records"
	"parley/internal/run"
	"parley/internal/secret"
	"parley/internal/store"
	"parley/internal/trace"
	"parley/internal/visit"
	"parley/internal/wsapi"
)

// postgresGracePeriod is how long the private PostgreSQL may take to stop.
const postgresGracePeriod = 10 * time.Second

// serve runs the server until ctx is done.
//
// Start order: the addresses are opened first, so that a busy port is reported immediately. Until the database is
// migrated and everything else is ready, requests are answered with 503.
//
// Shutdown order, which is that of the deferred calls:
//  1. drain: /readyz answers 503, and requests are still served
//  2. shutdown: no new requests; sockets are closed, replies finish, then the remaining requests
//  3. the search index, background work, exports, and the debug server stop
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
		c := &components{server: server, store: store, secrets: secrets, redis: redis, traces: traces, registry: metrics.New()}
		handler, err := c.assemble(ctx, config, log)
		if err != nil {
			return err
		}
		if key, err = key.check(ctx, c.auth, log); err != nil {
			return err
		}
		defer serveDebug(debugListener, c.registry, log)()
		defer c.records.Start(log)()
		c.feeds.Start()
		defer c.feeds.Close()
		c.chats.Start()
		defer c.chats.Close()
		c.runs.Start()
		c.visits.Start()
		defer maintainSearchIndex(ctx, store, log, config.SearchIndex)()
		defer server.shutdown(c.sockets, c.runs, c.visits, log)

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

// components are the parts of the running service.
type components struct {
	server   *server
	store    *store.Store
	secrets  *secret.Keys
	redis    *realtime.Redis // nil without Redis
	traces   *trace.Tracer
	registry *metrics.Registry

	// The following are set by assemble.
	auth    *auth.Auth
	bots    *bot.Bots
	models  *llm.Engine
	feeds   *feed.Feed
	runs    *run.Dispatcher
	visits  *visit.Visits
	chats   *chat.Chat
	records *records.Records
	limiter *ratelimit.Limiter
	sockets *wsapi.Server
}

// assemble creates the components that serve requests, registers their metrics, and returns the handler of the
// API. It starts nothing.
func (c *components) assemble(ctx context.Context, config config, log *slog.Logger) (http.Handler, error) {
	c.auth = auth.New(c.store, auth.WithKeys(c.secrets), auth.WithTickets(realtime.NewOneTimeStore(c.redis)))
	var engines bot.Engines
	engines, c.models = newEngines(c.store, c.secrets, c.traces, config.ModelNetworks)
	options := []bot.Option{bot.WithKeys(c.secrets), bot.WithFirstTokens(firstTokens(c.registry, engines.Names()))}
	if model := config.Model; model.Name != "" {
		options = append(options, bot.WithModel(model.Name, model.BaseURL, model.APIKey))
	}
	c.bots = bot.New(c.store, engines, options...)
	if err := applyModel(ctx, c.store, c.bots, config); err != nil {
		return nil, err
	}
	c.feeds = feed.New(feed.Config{Store: c.store, Redis: c.redis, Log: log, WatchQueue: config.SocketQueue})
	c.runs = run.New(run.Config{
		Store:                     c.store,
		Bots:                      c.bots,
		Feed:                      c.feeds,
		Log:                       log,
		MaxReplies:                config.Replies.Instance,
		MaxRepliesPerOrganization: config.Replies.Organization,
		IsSole:                    config.DatabaseURL == "",
		Traces:                    c.traces,
	})
	c.visits = visit.New(visit.Config{
		Store: c.store, Bots: c.bots, Feed: c.feeds, Log: log, Redis: c.redis, TTL: config.AnonymousTTL, MaxReplies: config.Replies.Instance, MaxContent: config.Messages.Anonymous, Limits: config.Visits,
	})
	served := c.visits
	if !config.Anonymous {
		served = nil
	}
	c.chats = chat.New(chat.Config{
		Store: c.store, Bots: c.bots, Feed: c.feeds, Runs: c.runs, Log: log, SearchIndex: config.SearchIndex, MaxContent: config.Messages.Characters, Traces: c.traces,
	})
	c.records = records.New(c.store)
	c.limiter = ratelimit.NewShared(config.RateLimits, c.redis)
	c.limiter.Ceilings = config.RateCeilings
	c.sockets = wsapi.New(wsapi.Config{Chat: c.chats, Visits: served, Limiter: c.limiter, Log: log, Origins: config.AllowedOrigins, Limits: config.Sockets, Traces: c.traces})
	addMetrics(c.registry, c)
	return httpapi.New(httpapi.Config{
		Auth:     c.auth,
		Bots:     c.bots,
		FAQs:     faq.New(c.store, c.bots),
		Chat:     c.chats,
		Runs:     c.runs,
		Inboxes:  inbox.New(c.store, c.bots),
		Records:  c.records,
		Audit:    audit.New(c.store),
		Limiter:  c.limiter,
		Connect:  c.sockets.Connect,
		Log:      log,
		Origins:  config.AllowedOrigins,
		Proxies:  config.TrustedProxies,
		Ready:    c.ready,
		Link:     c.redis,
		Requests: metrics.NewRequests(c.registry),
		Traces:   c.traces,
	})
}

// ready returns an error while the server is stopping or cannot use the database.
func (c *components) ready(ctx context.Context) error {
	if c.server.isStopping.Load() {
		return errors.New("the server is stopping")
	}
	return c.store.Ready(ctx)
}

// openTraces starts exporting traces if they are enabled. The returned logger then adds the
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
			log.Warn("several instances run without REDIS_URL: each instance counts rate limits separately, an anonymous visit exists on one instance only, "+
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
