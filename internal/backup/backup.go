// Package backup writes the contents of a database to a file and restores them, with
// PostgreSQL's programs pg_dump and pg_restore.
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

// ErrNotEmpty is returned when the database to restore into is not empty.
var ErrNotEmpty = errors.New("the database is not empty and would be overwritten: restore into a new one")

// Database is a database to dump or to restore into.
type Database struct {
	// Address is a URL or a list of key=value settings.
	Address string
	// BinDir holds PostgreSQL's programs. If it is empty, they are found in the same way as those of the private
	// PostgreSQL.
	BinDir string
}

// Dump writes a consistent snapshot of the database: everything that was committed before it
// began. Others can use the database meanwhile. After an error the output is incomplete and must
// be discarded.
func (d Database) Dump(ctx context.Context, w io.Writer) error {
	conn, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return d.run(ctx, conn, "pg_dump", nil, w, "--format=custom", "--no-owner", "--no-privileges")
}

// Restore restores a dump into an empty database, in one transaction. It returns ErrNotEmpty if
// the database holds anything.
func (d Database) Restore(ctx context.Context, r io.Reader) error {
	conn, err := d.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var isEmpty bool
	if err := conn.QueryRow(ctx, checkEmpty).Scan(&isEmpty); err != nil {
		return fmt.Errorf("check that the database is empty: %w", err)
	}
	if !isEmpty {
		return ErrNotEmpty
	}
	// Only its owner may comment on an object, and an administrator may own the extensions.
	if err := d.run(ctx, conn, "pg_restore", r, nil, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", "--no-comments"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "ANALYZE"); err != nil { // until then the planner has no statistics
		return fmt.Errorf("analyze the restored database: %w", err)
	}
	return nil
}

// checkEmpty ignores objects of extensions, which an administrator may have to create.
const checkEmpty = `
SELECT NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\_%'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))`

// connect accepts the same addresses as the server, including settings of the connection pool.
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

// run runs one of PostgreSQL's programs on the database: the one of the server's version, or a
// newer one. The password goes into its environment.
func (d Database) run(ctx context.Context, conn *pgx.Conn, program string, in io.Reader, out io.Writer, args ...string) error {
	var version int
	if err := conn.QueryRow(ctx, "SELECT current_setting('server_version_num')::integer / 10000").Scan(&version); err != nil {
		return fmt.Errorf("query the server's version: %w", err)
	}
	path, err := localpg.FindProgram(ctx, program, d.BinDir, version)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, append(args, "--no-password", "--dbname="+connectionString(d.Address))...)
	cmd.Env = cmd.Environ()
	if password := conn.Config().Password; password != "" {
		cmd.Env = append(cmd.Env, "PGPASSWORD="+password)
	}
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	var stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = in, out, &stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, strings.TrimSpace(stderr.String()))
	}
	return nil
}
