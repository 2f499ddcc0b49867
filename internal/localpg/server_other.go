//go:build !unix

package localpg

import (
	"context"
	"errors"
)

// Server is a running PostgreSQL. This system does not support it.
type Server struct{}

// Start returns an error: on this system, the program needs a DATABASE_URL.
func Start(context.Context, Config) (*Server, error) {
	return nil, errors.New("a private PostgreSQL needs a Unix system; set DATABASE_URL to the address of a PostgreSQL server")
}

// Running reports that no server runs.
func Running(string, string) (string, bool) { return "", false }

// URL returns the connection string of a database.
func (s *Server) URL(string) string { return "" }

// Pid returns the process ID of the postmaster.
func (s *Server) Pid() int { return 0 }

// Done is closed when postgres has ended.
func (s *Server) Done() <-chan struct{} { return nil }

// Stop stops postgres.
func (s *Server) Stop(context.Context) error { return nil }
