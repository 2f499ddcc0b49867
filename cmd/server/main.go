// Command parley is the conversation backend: `parley` serves, `parley org` manages
// organizations, configured by the environment alone (config.go). `parley conformance`
// asks any deployment whether it keeps the contract, and takes flags (conformance.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/faq"
	"parley/internal/httpapi"
	"parley/internal/localpg"
	"parley/internal/metrics"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/records"
	"parley/internal/shortcuts"
	"parley/internal/store"
	"parley/internal/trace"
	"parley/internal/wsapi"
)

// postgresGrace is how long the private PostgreSQL may take to stop.
const postgresGrace = 10 * time.Second

const usage = `usage:
  parley                    serve
  parley org create <name>  make an organization and print its admin key
  parley org list           list the organizations
  parley backup <file>      write all that the database holds to a new file
  parley restore <file>     fill an empty database with what such a file has
  parley conformance        ask a deployment whether it keeps the contract (-h: how)`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if len(os.Args) > 1 && os.Args[1] == "conformance" { // which needs no settings of a server's
		code := conform(ctx, os.Args[2:], os.Getenv("PARLEY_KEY"), os.Stdout, os.Stderr)
		stop()
		os.Exit(code)
	}
	home, _ := os.UserHomeDir() // empty where there is none; config.go says what then
	config, err := loadConfig(os.Getenv, os.Geteuid() == 0, home)
	if err == nil {
		err = command(ctx, config, os.Args[1:], os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "parley: %v\n", err)
		stop()
		os.Exit(1)
	}
}

func command(ctx context.Context, config config, args []string, out io.Writer) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: config.LogLevel}))
	if len(args) == 0 {
		return serve(ctx, config, log, out)
	}
	// The others work on the database of the server that runs on the same data directory, where one does.
	if address, ok := localpg.Running(config.DataDir, "postgres"); ok && config.DatabaseURL == "" {
		config.DatabaseURL = address
	}
	switch {
	case len(args) == 3 && args[0] == "org" && args[1] == "create":
		return withStore(ctx, config, log, nil, func(store *store.Store, _ <-chan struct{}) error {
			return createOrganization(ctx, store, args[2], out)
		})
	case len(args) == 1 && (args[0] == "help" || args[0] == "-h" || args[0] == "--help"):
		_, err := fmt.Fprintln(out, usage)
		return err
	case len(args) == 2 && args[0] == "org" && args[1] == "list":
		return withStore(ctx, config, log, nil, func(store *store.Store, _ <-chan struct{}) error {
			return listOrganizations(ctx, store, out)
		})
	case len(args) == 2 && args[0] == "backup":
		if err := mustHaveDatabase(config); err != nil {
			return err
		}
		return withDatabase(ctx, config, log, func(address string, _ <-chan struct{}) error { return backUp(ctx, config, address, args[1], out) })
	case len(args) == 2 && args[0] == "restore":
		return withDatabase(ctx, config, log, func(address string, _ <-chan struct{}) error { return restore(ctx, config, address, args[1], out) })
	}
	return fmt.Errorf("unknown command\n%s", usage)
}

// serve runs the service until ctx is done, then stops in the reverse order: not ready,
// sockets told, replies written, requests answered, database closed. While it starts,
// which may take long where the database is migrated, it says so.
func serve(ctx context.Context, config config, log *slog.Logger, out io.Writer) error {
	if err := mustHaveSecretKey(config); err != nil {
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
		defer debugListener.Close() // where the start fails; else it is closed before
	}
	log.Debug("starting", "address", listener.Addr().String())
	door := newDoor(listener, log)
	defer door.slam() // where the start fails; else it is closed before
	traces, log, err := openTraces(ctx, config, log)
	if err != nil {
		return err
	}
	defer traces.Close()
	return withStore(ctx, config, log, traces, func(store *store.Store, lost <-chan struct{}) error {
		secrets, err := secretKeys(config)
		if err != nil {
			return err
		}
		key, err := bootstrap(ctx, store, config)
		if err != nil {
			return err
		}
		link, part, err := join(ctx, store, config, log)
		if err != nil {
			return err
		}
		defer part()
		keys := auth.New(store, auth.WithKeys(secrets), auth.WithTickets(realtime.NewOneTimeStore(link)))
		if key, err = known(ctx, keys, key); err != nil {
			return err
		}
		registry := metrics.New()
		engines, models := newEngines(store, secrets, traces)
		bots := bot.New(store, engines, bot.WithKeys(secrets), bot.WithFirstTokens(firstTokens(registry, engines.Names())))
		if err := useModel(ctx, store, bots, config); err != nil {
			return err
		}
		taken := shortcuts.All()
		taken.Search = config.SearchIndex
		chats := chat.New(chat.Config{
			Store:                     store,
			Link:                      link,
			Bots:                      bots,
			Log:                       log,
			VisitTTL:                  config.AnonymousTTL,
			MaxReplies:                config.ReplyLimits["instance"],
			MaxRepliesPerOrganization: config.ReplyLimits["organization"],
			WatchQueue:                config.SocketLimits["queue"],
			IsAlone:                   config.DatabaseURL == "",
			Shortcuts:                 taken,
			Traces:                    traces,
		})
		kept := records.New(store)
		limiter := ratelimit.NewShared(config.limits(), link)
		sockets := wsapi.New(wsapi.Config{Chat: chats, Limiter: limiter, Log: log, Origins: config.AllowedOrigins, Limits: config.socketLimits(), Traces: traces})
		addMetrics(registry, measured{config, door, store, models, chats, kept, sockets, limiter, link})
		defer serveDebug(debugListener, registry, log)()
		handler, err := httpapi.New(httpapi.Config{
			Auth:    keys,
			Bots:    bots,
			FAQs:    faq.New(store, bots),
			Chat:    chats,
			Records: kept,
			Audit:   audit.New(store),
			Limiter: limiter,
			Connect: sockets.Connect,
			Log:     log,
			Origins: config.AllowedOrigins,
			Ready: func(ctx context.Context) error {
				if door.isStopping.Load() {
					return errors.New("the server is stopping")
				}
				return store.Ready(ctx)
			},
			Link:     link,
			Requests: metrics.NewRequests(registry),
			Traces:   traces,
		})
		if err != nil {
			return err
		}
		defer kept.Start(log)()
		chats.Start()
		defer keepSearchIndex(ctx, store, log, config.SearchIndex)()
		defer door.close(sockets, chats, log)

		door.lead(handler)
		announce(out, listener.Addr(), key)
		select {
		case <-ctx.Done():
			log.Info("stopping", "drain", config.Drain)
			door.drain(config.Drain, lost)
			return nil
		case <-lost:
			return fmt.Errorf("the private PostgreSQL ended by itself; its last words are in %s", filepath.Join(config.DataDir, "postgres.log"))
		case err := <-door.failed:
			return fmt.Errorf("serve: %w", err)
		}
	})
}

// openTraces begins to follow what is done, where that is wanted: the lines of the log then
// tell what they belong to.
func openTraces(ctx context.Context, config config, log *slog.Logger) (*trace.Tracer, *slog.Logger, error) {
	if !config.Traces {
		return nil, log, nil
	}
	log = slog.New(trace.LogHandler(log.Handler()))
	traces, err := trace.Open(ctx, version(), log)
	return traces, log, err
}

// join joins the other instances on the database through Redis, and warns of them where
// there is none. What is returned beside the link parts from them; the link is nil
// without Redis.
func join(ctx context.Context, store *store.Store, config config, log *slog.Logger) (link *realtime.Redis, part func(), err error) {
	others, leave, err := store.Register(ctx)
	if err != nil {
		return nil, nil, err
	}
	if config.RedisURL == "" {
		if others > 0 {
			log.Warn("other instances serve this database, and REDIS_URL is not set: rate limits are counted by each instance for itself, "+
				"an anonymous visit lives at the instance that it began at, replies are seen growing only where they are written, "+
				"and messages of other instances are heard seconds later", "others", others)
		}
		return nil, leave, nil
	}
	if link, err = realtime.Open(ctx, config.RedisURL, log); err != nil {
		leave()
		return nil, nil, err
	}
	return link, func() { link.Close(); leave() }, nil
}

// keepSearchIndex has the search index made, or dropped, in the background. What is
// returned gives up what is left of that.
func keepSearchIndex(ctx context.Context, store *store.Store, log *slog.Logger, isWanted bool) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var work sync.WaitGroup
	work.Go(func() { store.MaintainSearchIndex(ctx, log, isWanted) })
	return func() { cancel(); work.Wait() }
}

// withStore runs fn with a store over the database of withDatabase.
func withStore(ctx context.Context, config config, log *slog.Logger, traces *trace.Tracer, fn func(store *store.Store, lost <-chan struct{}) error) error {
	return withDatabase(ctx, config, log, func(address string, lost <-chan struct{}) error {
		opened, err := store.Open(ctx, address, store.WithLog(log), store.WithTraces(traces))
		if err != nil {
			return err
		}
		defer opened.Close()
		return fn(opened, lost)
	})
}

// withDatabase runs fn with the address of a database: that of DATABASE_URL, or of a
// private PostgreSQL that lives as long as fn runs; should that one end before, lost is
// closed.
func withDatabase(ctx context.Context, config config, log *slog.Logger, fn func(address string, lost <-chan struct{}) error) (err error) {
	if config.DatabaseURL != "" {
		return fn(config.DatabaseURL, nil)
	}
	postgres, err := localpg.Start(ctx, localpg.Config{Dir: config.DataDir, BinDir: config.PostgresBin, Logger: log})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), postgresGrace)
		defer cancel()
		if stopErr := postgres.Stop(ctx); err == nil {
			err = stopErr
		}
	}()
	return fn(postgres.URL("postgres"), postgres.Done())
}
