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

// lockTimeout is the SQLSTATE of a statement that waited for a lock longer than lock_timeout.
const lockTimeout = "55P03"

// readOnly is the SQLSTATE of a write to a read-only database. Its connection is closed, because a
// new one may reach the primary.
const readOnly = "25006"

var errReadOnly = errors.New("the database is read-only")

// maxRetries is how often a statement or transaction is retried after a lost race.
const maxRetries = 3

// constraintMessages maps the constraints that callers can violate to the message for the caller.
var constraintMessages = map[string]string{
	"bots_pkey":                     "Another chatbot has this ID.",
	"contacts_pkey":                 "Another contact has this ID.",
	"web_chats_pkey":                "Another web chat has this ID.",
	"inboxes_one_api_inbox_per_bot": "Every chatbot has an API channel of its own, so this one cannot move to another chatbot.",
	"api_keys_prefix_key":           "This key, or one with the same prefix, exists already.",
	"bots_slug_key":                 "Another chatbot has this slug.",
	"bots_one_default":              "Another chatbot was made the default at the same time. Retry.",
	"organizations_name_key":        "An organization with this name already exists.",
	"users_name_key":                "A user with this name already exists.",
	"contact_inboxes_source_id_key": "Another contact in the inbox has this source ID.",
}

// translate returns the apperr.Error for an error of pgx that a caller may read. It returns any
// other error unchanged, including an apperr.Error.
func translate(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*apperr.Error](err); ok {
		return err
	}
	if errors.Is(err, pgx.ErrNoRows) {
		return apperr.Wrap(apperr.NotFound, "The resource does not exist.", err)
	}
	// A request that got no connection has not reached the database. A deadline in a ConnectError
	// is connect_timeout: when the caller's context ends, the wait for a connection ends with its
	// error.
	if _, isConnectError := errors.AsType[*pgconn.ConnectError](err); isConnectError {
		return unavailable(err)
	}
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return translateCode(pg, err)
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	_, isNetError := errors.AsType[*net.OpError](err)
	// pgx returns io.EOF only when the connection ends.
	isEOF := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	if isNetError || isEOF || pgconn.SafeToRetry(err) {
		return unavailable(err)
	}
	return err
}

// translateCode translates a SQLSTATE (PostgreSQL manual, appendix A).
func translateCode(pg *pgconn.PgError, err error) error {
	switch {
	case pg.Code == "23505", pg.Code == "23P01": // unique or exclusion constraint
		if message, ok := constraintMessages[pg.ConstraintName]; ok {
			return apperr.Wrap(apperr.Conflict, message, err)
		}
		return err
	case pg.Code == "23503": // foreign key: the referenced row was deleted concurrently
		return apperr.Wrap(apperr.NotFound, "A resource that the request refers to no longer exists.", err)
	case strings.HasPrefix(pg.Code, "22"), strings.HasPrefix(pg.Code, "54"): // data exception, program limit
		return apperr.Wrap(apperr.InvalidRequest, "The request contains a value that cannot be stored.", err)
	case pg.Code == "57014": // statement timeout
		return apperr.Wrap(apperr.Timeout, "The database query timed out.", err)
	case isLockTimeout(err), pg.Code == readOnly, lostRace(err),
		strings.HasPrefix(pg.Code, "53"), strings.HasPrefix(pg.Code, "57P"), // out of resources, shutting down
		strings.HasPrefix(pg.Code, "08"): // connection
		return unavailable(err)
	}
	return err
}

func unavailable(err error) error {
	return &apperr.Error{Kind: apperr.Unavailable, Message: "The database is unavailable. Retry later.", RetryAfter: time.Second, Err: err}
}

// shorten returns the cause of a connection error in one line: pgx's own error has a line for each
// address that it tried.
func shorten(err error) error {
	if pg, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pg
	}
	if dial, ok := errors.AsType[*net.OpError](err); ok {
		return dial
	}
	return err
}

// IsInDoubt reports whether the statement or transaction that failed with err may have been
// committed nevertheless: the connection was lost or PostgreSQL did not answer in time.
func IsInDoubt(err error) bool {
	appErr, ok := errors.AsType[*apperr.Error](err)
	if !ok || appErr.Kind != apperr.Unavailable || appErr.Err == nil {
		return false
	}
	if _, isConnectError := errors.AsType[*pgconn.ConnectError](err); isConnectError {
		return false
	}
	return !isStatementError(err)
}

// isLockTimeout reports whether a statement waited for a lock longer than lock_timeout.
func isLockTimeout(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == lockTimeout
}

// lostRace reports whether PostgreSQL rolled back the transaction in favour of another one, by a
// deadlock or a serialization failure, so that a retry can succeed.
func lostRace(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (pg.Code == "40P01" || pg.Code == "40001")
}
