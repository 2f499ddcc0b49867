package store

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"parley/internal/apperr"
)

// lockTimeout is the SQLSTATE of a lock that was not got in its time.
const lockTimeout = "55P03"

// readOnly is the SQLSTATE of a write to a database that only reads. Its connection is
// closed: the next one may lead to the database that has taken its place.
const readOnly = "25006"

var errReadOnly = errors.New("the database takes nothing that is written")

// maxRetries is how often a statement or transaction that lost a race inside
// PostgreSQL is run again.
const maxRetries = 3

// sentences tells, for each named constraint that a caller can run into, what it
// means to the caller.
var sentences = map[string]string{
	"bots_slug_key":                 "Another chatbot has this slug.",
	"bots_one_default":              "Another chatbot became the default at the same time.",
	"organizations_name_key":        "There is an organization of this name.",
	"users_name_key":                "There is a user of this name.",
	"contact_inboxes_source_id_key": "Another contact in the inbox has this source id.",
}

// translate turns an error of pgx into a fault where the caller may hear of it;
// what is a fault already, or no error of the database, is returned as it is.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*apperr.Error](err); ok {
		return err
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return apperr.Wrap(apperr.NotFound, "It does not exist.", err)
	}
	// Whatever a connection was not made for, the request has not reached the database. A
	// deadline in it is that of the connection (connect_timeout): a caller's ends the wait for it.
	if _, refused := errors.AsType[*pgconn.ConnectError](err); refused {
		return unavailable(err)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return translateCode(pg, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	_, broken := errors.AsType[net.Error](err)
	// An end of what is read is that of the connection: rows and texts end otherwise.
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if broken || ended || pgconn.SafeToRetry(err) {
		return unavailable(err)
	}
	return err
}

// translateCode goes by the SQLSTATE (PostgreSQL manual, appendix A).
func translateCode(pg *pgconn.PgError, err error) error {
	switch {
	case pg.Code == "23505", pg.Code == "23P01": // unique or exclusion constraint
		if sentence, ok := sentences[pg.ConstraintName]; ok {
			return apperr.Wrap(apperr.Conflict, sentence, err)
		}
		return err
	case pg.Code == "23503": // foreign key: what it refers to has just been deleted
		return apperr.Wrap(apperr.NotFound, "What the request refers to no longer exists.", err)
	case strings.HasPrefix(pg.Code, "22"), strings.HasPrefix(pg.Code, "54"): // a value that cannot be stored
		return apperr.Wrap(apperr.InvalidRequest, "The request holds a value that cannot be stored.", err)
	case pg.Code == "57014": // statement timeout
		return apperr.Wrap(apperr.Timeout, "The database took too long.", err)
	case isLockTimeout(err), pg.Code == readOnly, lostRace(err),
		strings.HasPrefix(pg.Code, "53"), strings.HasPrefix(pg.Code, "57P"), // out of resources, stopping
		strings.HasPrefix(pg.Code, "08"): // connection
		return unavailable(err)
	}
	return err
}

func unavailable(err error) error {
	return &apperr.Error{Kind: apperr.Unavailable, Message: "The database cannot be reached at the moment.", RetryAfter: time.Second, Err: err}
}

// plain is what the driver's error is about, in one line: its own words have a line
// for each address that it tried.
func plain(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok {
		return dial
	}
	return err
}

// IsInDoubt tells of an error whether what was asked may have been committed nevertheless:
// the connection was lost, or PostgreSQL did not answer in time.
func IsInDoubt(err error) bool {
	told, isTold := errors.AsType[*apperr.Error](err)
	if !isTold || told.Kind != apperr.Unavailable || told.Err == nil {
		return false
	}
	if _, isRefused := errors.AsType[*pgconn.ConnectError](err); isRefused {
		return false
	}
	return !isOfStatement(err)
}

// isLockTimeout tells whether a statement waited for a lock longer than it may.
func isLockTimeout(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == lockTimeout
}

// lostRace tells whether PostgreSQL ended the work in favour of another's, so
// that running it again is right: a deadlock or a serialization failure.
func lostRace(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "40P01" || pg.Code == "40001")
}
