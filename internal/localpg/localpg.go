// Package localpg runs a private PostgreSQL for a program that was given no database.
//
// The cluster lives in the program's data directory, listens on a unix socket only, and is
// durable by default. One program uses a cluster at a time; a second one is refused.
//
// # Process lifecycle
//
// Start takes two file locks, creates the cluster if there is none, and starts postgres as a
// child in a process group of its own, so that Ctrl-C in a terminal reaches the program only.
// It returns when postgres accepts connections. From there postgres ends in one of these ways:
//
//   - Stop asks for a fast shutdown (SIGINT: disconnect clients, write a checkpoint), then for
//     an immediate one (SIGQUIT), then kills it.
//   - The program dies without Stop. On Linux the kernel then sends postgres SIGINT; elsewhere
//     postgres keeps running, and the next Start waits for it and names it in its error.
//   - Postgres ends by itself or is killed. Done is closed; this package does not restart it.
//
// Nothing is removed when a program is killed. The next Start holds both locks, which proves
// that no process of an earlier start is alive, and cleans up stale pid files, sockets and
// incomplete clusters.
//
// # Files in the data directory
//
//	postgres          the cluster
//	postgres.new      a cluster that initdb is creating; renamed once it is complete
//	postgres.log      the output of postgres since the last start
//	postgres.lock     locked by the program that uses the cluster
//	postgres.running  locked while any process of the cluster is alive
//	postgres.socket   a symbolic link to the directory of the socket
//
// Only Unix systems can run a private PostgreSQL. Elsewhere Start returns an error, and the
// other functions work.
package localpg

import "log/slog"

// Config determines where the cluster is stored and how it runs.
type Config struct {
	// Dir is the data directory. It is created if it does not exist.
	Dir string
	// BinDir holds initdb and postgres. If empty, FindBinaries chooses; for an existing
	// cluster the first directory with the cluster's major version is used.
	BinDir string
	// Logger receives starts and unexpected ends. Nil discards them.
	Logger *slog.Logger
	// Settings are further postgres settings, as in postgresql.conf. They cannot change
	// where postgres listens.
	Settings map[string]string
}
