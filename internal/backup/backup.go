// Package backup takes all that a database holds to a file, and makes a database of such a
// file, by PostgreSQL's own programs pg_dump and pg_restore.
package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"parley/internal/localpg"
)

// ErrNotEmpty is that a database holds something already.
var ErrNotEmpty = errors.New("the database is not empty, and what is in it is not overwritten: restore into a new one")

// Database is what is taken to a file, or made of one.
type Database struct {
	// Address is a URL or key=value pairs.
	Address string
	// BinDir holds PostgreSQL's programs. Empty: the places where a private PostgreSQL's are looked for.
	BinDir string
}

// Take writes what the database holds at the moment at which it begins. All that was
// committed before is in it, and whoever uses the database goes on. After an error what
// was written is worth nothing.
func (d Database) Take(ctx context.Context, w io.Writer) error {
	conn, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return d.run(ctx, conn, "pg_dump", nil, w, "--format=custom", "--no-owner", "--no-privileges")
}

// Restore fills an empty database with what Take has written, all of it or nothing;
// ErrNotEmpty is that it holds something.
func (d Database) Restore(ctx context.Context, r io.Reader) error {
	conn, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var isEmpty bool
	if err := conn.QueryRow(ctx, nothingIsThere).Scan(&isEmpty); err != nil {
		return fmt.Errorf("look what is in the database: %w", err)
	}
	if !isEmpty {
		return ErrNotEmpty
	}
	// Comments are for whoever owns what they speak of, such as an extension that an administrator made.
	if err := d.run(ctx, conn, "pg_restore", r, nil, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-comments"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "ANALYZE"); err != nil { // else queries are planned blindly for a while
		return fmt.Errorf("analyze the restored database: %w", err)
	}
	return nil
}

// nothingIsThere passes over extensions, which may have to be made by an administrator.
const nothingIsThere = `
SELECT NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))`

// connect takes an address as the server does, settings of its pool included.
func (d Database) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgxpool.ParseConfig(d.Address)
	if err != nil {
		return nil, fmt.Errorf("parse the database's address: %w", err)
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return nil, fmt.Errorf("connect to the database: %w", err)
	}
	return conn, nil
}

// run runs one of PostgreSQL's programs, of the server's own version where there is one,
// on the database.
func (d Database) run(ctx context.Context, conn *pgx.Conn, program string, in io.Reader, out io.Writer, args ...string) error {
	var version int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::integer / 10000").Scan(&version); err != nil {
		return fmt.Errorf("ask for the database's version: %w", err)
	}
	path, err := localpg.FindProgram(ctx, program, d.BinDir, version)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, append(args, "--no-password", "--dbname="+nameOf(d.Address))...)
	cmd.Env = cmd.Environ()
	if password := conn.Config().Password; password != "" {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(said.String()))
	}
	return nil
}
