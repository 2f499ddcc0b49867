package main

import (
	"runtime"

	"parley/internal/chat"
	"parley/internal/llm"
	"parley/internal/metrics"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/records"
	"parley/internal/store"
	"parley/internal/wsapi"
)

// measured is the parts of the service that keep numbers.
type measured struct {
	config  config
	door    *door
	store   *store.Store
	models  *llm.Engine
	chats   *chat.Chat
	records *records.Records
	sockets *wsapi.Server
	limiter *ratelimit.Limiter
	link    *realtime.Redis // nil without Redis
}

// firstTokens adds how long replies take to begin.
func firstTokens(r *metrics.Registry, engines []string) *metrics.Durations {
	return metrics.NewDurations(r, "parley_reply_first_token_seconds",
		"How long replies took to begin, from the moment at which their bot was asked.", "engine", engines...)
}

// addMetrics adds the numbers that the parts of the service keep. They are read when
// somebody asks for them, and nothing is asked of the database for them.
func addMetrics(r *metrics.Registry, m measured) {
	gauge := func(name, help string, read func() float64) { r.Gauge(name, help, nil, read) }
	total := func(name, help string, labels metrics.Labels, read func() int64) {
		r.Counter(name, help, labels, func() float64 { return float64(read()) })
	}
	totals := func(name, help, label string, counts map[string]func() int64) {
		for value, read := range counts {
			total(name, help, metrics.Labels{label: value}, read)
		}
	}
	stats := m.chats.Stats

	r.Gauge("parley_build_info", "1, of what the program was built.", metrics.Labels{"version": version(), "go": runtime.Version()}, func() float64 { return 1 })
	gauge("parley_schema", "The number of the newest migration.", func() float64 { return float64(m.store.SchemaVersion()) })
	gauge("parley_stopping", "1 from the moment at which the server was told to stop.", func() float64 { return oneIf(m.door.isStopping.Load()) })

	gauge("parley_sockets_open", "WebSockets that are open.", func() float64 { return float64(m.sockets.Open()) })
	total("parley_sockets_opened_total", "WebSockets that were opened.", nil, m.sockets.Opened)
	totals("parley_sockets_closed_total", "WebSockets that were closed, by why.", "reason", m.sockets.Closed())
	total("parley_socket_frames_refused_total", "Frames of clients that were answered with an error.", nil, m.sockets.Refused)

	gauge("parley_replies_writing", "Replies that are being written.", func() float64 { return float64(stats().Writing) })
	gauge("parley_replies_waiting", "Replies known here that wait for their turn, or are written by another instance.", func() float64 { return float64(stats().Waiting) })
	gauge("parley_visits", "Anonymous visits that are served here.", func() float64 { return float64(stats().Visits) })
	totals("parley_messages_total", "Messages of users and staff by what became of them: stored, or refused though well-formed.", "result", map[string]func() int64{
		"stored":  func() int64 { return stats().Stored },
		"refused": func() int64 { return stats().Refused },
	})
	totals("parley_replies_total", "Attempts at replies that are over, by how: completed, cancelled or failed and so stored; "+
		"lost to another attempt, given back by a server that stops or cannot reach the database, or not stored because the database could not be reached.", "result", map[string]func() int64{
		"completed":  func() int64 { return stats().Completed },
		"cancelled":  func() int64 { return stats().Cancelled },
		"failed":     func() int64 { return stats().Failed },
		"lost":       func() int64 { return stats().Lost },
		"given_back": func() int64 { return stats().GivenBack },
		"not_stored": func() int64 { return stats().NotStored },
	})
	total("parley_replies_taken_up_total", "Replies that were begun anew because whoever wrote them had gone.", nil, func() int64 { return stats().TakenUp })
	total("parley_leases_unrenewed_total", "How often the leases of the replies that are being written could not be renewed.", nil, func() int64 { return stats().UnrenewedLeases })
	totals("parley_model_calls_total", "How often model servers were asked, by how that ended.", "result", m.models.Calls())
	totals("parley_rate_limited_total", "Requests and frames over a limit, by its class.", "class", m.limiter.Refused())

	gauge("parley_exports_writing", "Exports that are being written.", func() float64 { writing, _, _ := m.records.Exports(); return float64(writing) })
	totals("parley_exports_total", "Exports that are over: written, or broken off, because of their reader or of a failure.", "result", map[string]func() int64{
		"written":    func() int64 { _, written, _ := m.records.Exports(); return written },
		"broken_off": func() int64 { _, _, brokenOff := m.records.Exports(); return brokenOff },
	})

	addDatabaseMetrics(r, m.store)
	if m.link != nil {
		gauge("parley_redis_away", "1 while Redis is away, which joins the instances.", func() float64 { return oneIf(m.link.Unavailable()) })
		total("parley_redis_losses_total", "How often Redis has gone away.", nil, m.link.Outages)
	}
}

// addDatabaseMetrics adds what the store keeps.
func addDatabaseMetrics(r *metrics.Registry, store *store.Store) {
	gauge := func(name, help string, read func() float64) { r.Gauge(name, help, nil, read) }
	total := func(name, help string, labels metrics.Labels, read func() int64) {
		r.Counter(name, help, labels, func() float64 { return float64(read()) })
	}
	pool, stats := store.PoolStats, store.Stats

	gauge("parley_database_away", "1 from a try to connect to the database that has failed to the next that has not.", func() float64 { return oneIf(stats().Unreachable) })
	total("parley_database_connects_total", "Connections that were made to the database; more than at first are those that broke.", nil, func() int64 { return pool().NewConnsCount() })
	total("parley_database_connects_failed_total", "Connections that could not be made to the database.", nil, func() int64 { return stats().FailedConnects })
	for kind, read := range store.ErrorCounts() {
		total("parley_database_troubles_total", "What the database has refused for reasons of its own, by their kind.", metrics.Labels{"kind": kind}, read)
	}
	gauge("parley_database_connections_max", "How many connections to the database there may be.", func() float64 { return float64(pool().MaxConns()) })
	gauge("parley_database_connections_acquired", "Connections to the database that are in use.", func() float64 { return float64(pool().AcquiredConns()) })
	gauge("parley_database_connections_idle", "Connections to the database that are not in use.", func() float64 { return float64(pool().IdleConns()) })
	total("parley_database_acquires_total", "How often a connection to the database was taken.", nil, func() int64 { return pool().AcquireCount() })
	total("parley_database_waits_total", "How often somebody had to wait for a connection to the database.", nil, func() int64 { return pool().EmptyAcquireCount() })
	r.Counter("parley_database_wait_seconds_total", "How long was waited for connections to the database.", nil, func() float64 { return pool().EmptyAcquireWaitTime().Seconds() })

	gauge("parley_sends_waiting", "Messages and replies that wait to be committed with others.", func() float64 { return float64(store.Pending().Statements) })
	gauge("parley_sends_waiting_bytes", "How large they are.", func() float64 { return float64(store.Pending().Bytes) })
	gauge("parley_conversations_locked", "Conversations that others keep locked, so that what is sent to them is stored apart.", func() float64 { return float64(store.Pending().IsolatedSessions) })
	total("parley_commits_total", "Commits of messages and replies together.", nil, func() int64 { return stats().GroupCommits })
	total("parley_commits_statements_total", "Messages and replies that were committed so: by commits, how many together.", nil, func() int64 { return stats().GroupedStatements })
	total("parley_commits_taken_out_total", "Messages and replies that kept others from being committed, and were stored by themselves.", nil, func() int64 { return stats().IsolatedStatements })
}

func oneIf(isSo bool) float64 {
	if isSo {
		return 1
	}
	return 0
}
