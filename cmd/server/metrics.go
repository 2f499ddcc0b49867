package main

import (
	"runtime"

	"parley/internal/metrics"
	"parley/internal/store"
)

// firstTokens registers the histogram of the time to first token.
func firstTokens(r *metrics.Registry, engines []string) *metrics.Durations {
	return metrics.NewDurations(r, "parley_reply_first_token_seconds",
		"Time to first token: from the call of the chatbot's engine to the first text of the reply.", "engine", engines...)
}

// addMetrics registers the metrics of all components. They are read from memory at each scrape, without a
// query to the database.
func addMetrics(r *metrics.Registry, c *components) {
	gauge := func(name, help string, read func() float64) { r.Gauge(name, help, nil, read) }
	total := func(name, help string, labels metrics.Labels, read func() int64) {
		r.Counter(name, help, labels, func() float64 { return float64(read()) })
	}
	totals := func(name, help, label string, counts map[string]func() int64) {
		for value, read := range counts {
			total(name, help, metrics.Labels{label: value}, read)
		}
	}
	stats := c.runs.Stats

	r.Gauge("parley_build_info", "The version and the Go release of the program. Always 1.", metrics.Labels{"version": version(), "go": runtime.Version()}, func() float64 { return 1 })
	gauge("parley_schema", "Version of the database schema: the number of the latest migration.", func() float64 { return float64(c.store.SchemaVersion()) })
	gauge("parley_stopping", "1 while the server is shutting down.", func() float64 { return oneIf(c.server.isStopping.Load()) })

	gauge("parley_sockets_open", "Open WebSockets.", func() float64 { return float64(c.sockets.Open()) })
	total("parley_sockets_opened_total", "WebSockets opened.", nil, c.sockets.Opened)
	totals("parley_sockets_closed_total", "WebSockets closed, by reason.", "reason", c.sockets.Closed())
	total("parley_socket_frames_refused_total", "Client frames that were answered with an error.", nil, c.sockets.Refused)

	gauge("parley_replies_writing", "Replies in progress on this instance.", func() float64 { return float64(stats().Writing) })
	gauge("parley_replies_waiting", "Replies that this instance is waiting for: queued, or in progress on another instance.", func() float64 { return float64(stats().Waiting) })
	gauge("parley_visits", "Anonymous visits on this instance.", func() float64 { return float64(c.visits.Count()) })
	totals("parley_messages_total", "Messages of users and agents, by result: stored, or refused although valid.", "result", map[string]func() int64{
		"stored":  func() int64 { return c.chats.Stats().Stored },
		"refused": func() int64 { return c.chats.Stats().Refused },
	})
	totals("parley_replies_total", "Attempts to write a reply that have ended, by result. completed, cancelled and failed are stored. "+
		"lost: another attempt took over. given_back: released by a stopping instance, or one that cannot reach the database. not_stored: the database was unreachable.", "result", map[string]func() int64{
		"completed":  func() int64 { return stats().Completed },
		"cancelled":  func() int64 { return stats().Cancelled },
		"failed":     func() int64 { return stats().Failed },
		"lost":       func() int64 { return stats().Lost },
		"given_back": func() int64 { return stats().GivenBack },
		"not_stored": func() int64 { return stats().NotStored },
	})
	totals("parley_stateless_completions_total", "Stateless completions that have ended, by result. cancelled: the client disconnected.", "result", map[string]func() int64{
		"completed": func() int64 { return stats().StatelessCompleted },
		"cancelled": func() int64 { return stats().StatelessCancelled },
		"failed":    func() int64 { return stats().StatelessFailed },
	})
	totals("parley_model_tokens_total", "Tokens that model servers have reported, by kind. cached is part of prompt, reasoning part of completion.", "kind", map[string]func() int64{
		"prompt":     func() int64 { return stats().PromptTokens },
		"completion": func() int64 { return stats().CompletionTokens },
		"cached":     func() int64 { return stats().CachedTokens },
		"reasoning":  func() int64 { return stats().ReasoningTokens },
	})
	total("parley_replies_taken_up_total", "Runs that were rescued after their lease had expired.", nil, func() int64 { return stats().Reclaimed })
	total("parley_leases_unrenewed_total", "Failed renewals of leases.", nil, func() int64 { return stats().FailedHeartbeats })
	totals("parley_model_calls_total", "Calls of model servers, by result.", "result", c.models.Calls())
	totals("parley_rate_limited_total", "Requests and frames that exceeded a rate limit, by class.", "class", c.limiter.Refused())

	gauge("parley_exports_writing", "Exports in progress.", func() float64 { return float64(c.records.ExportStats().InProgress) })
	totals("parley_exports_total", "Exports that have ended: written completely, or interrupted by the client or an error.", "result", map[string]func() int64{
		"written":    func() int64 { return c.records.ExportStats().Completed },
		"broken_off": func() int64 { return c.records.ExportStats().Aborted },
	})

	addDatabaseMetrics(r, c.store)
	if c.redis != nil {
		gauge("parley_redis_away", "1 while Redis is unavailable.", func() float64 { return oneIf(c.redis.Unavailable()) })
		total("parley_redis_losses_total", "Redis outages.", nil, c.redis.Outages)
	}
}

// addDatabaseMetrics registers the metrics of the store.
func addDatabaseMetrics(r *metrics.Registry, store *store.Store) {
	gauge := func(name, help string, read func() float64) { r.Gauge(name, help, nil, read) }
	total := func(name, help string, labels metrics.Labels, read func() int64) {
		r.Counter(name, help, labels, func() float64 { return float64(read()) })
	}
	pool, stats := store.PoolStats, store.Stats

	gauge("parley_database_away", "1 if the last attempt to connect to the database failed.", func() float64 { return oneIf(stats().Unreachable) })
	total("parley_database_connects_total", "Connections opened to the database. It keeps growing if connections break.", nil, func() int64 { return pool().NewConnsCount() })
	total("parley_database_connects_failed_total", "Failed attempts to connect to the database.", nil, func() int64 { return stats().FailedConnects })
	for kind, read := range store.ErrorCounts() {
		total("parley_database_troubles_total", "Errors of the database that the caller did not cause, by kind.", metrics.Labels{"kind": kind}, read)
	}
	gauge("parley_database_connections_max", "Maximum size of the connection pool.", func() float64 { return float64(pool().MaxConns()) })
	gauge("parley_database_connections_acquired", "Connections of the pool that are in use.", func() float64 { return float64(pool().AcquiredConns()) })
	gauge("parley_database_connections_idle", "Idle connections of the pool.", func() float64 { return float64(pool().IdleConns()) })
	total("parley_database_acquires_total", "Acquisitions of a connection from the pool.", nil, func() int64 { return pool().AcquireCount() })
	total("parley_database_waits_total", "Acquisitions that had to wait because no connection was idle.", nil, func() int64 { return pool().EmptyAcquireCount() })
	r.Counter("parley_database_wait_seconds_total", "Total time that acquisitions waited for a connection.", nil, func() float64 { return pool().EmptyAcquireWaitTime().Seconds() })

	gauge("parley_sends_waiting", "Messages and replies that wait for the next group commit.", func() float64 { return float64(store.Pending().Statements) })
	gauge("parley_sends_waiting_bytes", "Size of the messages and replies that wait for the next group commit.", func() float64 { return float64(store.Pending().Bytes) })
	gauge("parley_conversations_locked", "Conversations with a locked row, whose messages are committed separately.", func() float64 { return float64(store.Pending().IsolatedSessions) })
	total("parley_commits_total", "Group commits of messages and replies.", nil, func() int64 { return stats().GroupCommits })
	total("parley_commits_statements_total", "Messages and replies stored by group commits. Divided by parley_commits_total, it is the batch size.", nil, func() int64 { return stats().GroupedStatements })
	total("parley_commits_taken_out_total", "Messages and replies that were isolated from a group commit because they blocked it.", nil, func() int64 { return stats().IsolatedStatements })
}

func oneIf(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}
