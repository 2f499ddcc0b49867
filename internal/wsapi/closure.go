package wsapi

import (
	"context"
	"errors"
	"io"
	"net"
	"os"

	"github.com/coder/websocket"

	"parley/internal/apperr"
)

// The reasons for which the server closes a socket.
var (
	errStopping    = errors.New("the server is stopping")
	errExpired     = errors.New("the visit, key or token has expired")
	errIdle        = errors.New("idle timeout")
	errSlow        = errors.New("write timeout")
	errPongTimeout = errors.New("pong timeout")
	errDeleted     = apperr.New(apperr.NotFound, "The conversation was deleted.")
)

// closureLabels are the values of closure.label.
var closureLabels = []string{"stopping", "expired", "deleted", "idle", "silent", "slow", "too_large", "left", "cut_off", "failed"}

// closure is how a socket is closed.
type closure struct {
	label string // for the metric
	code  websocket.StatusCode
	text  string // in the close frame
	// status is the status frame that is written before the close frame; empty if none is.
	status string
}

// closureOf returns how a socket is closed for a reason.
func closureOf(reason error) closure {
	switch {
	case errors.Is(reason, errStopping):
		return closure{"stopping", websocket.StatusGoingAway, "the server is stopping", "closing"}
	case errors.Is(reason, errExpired):
		return closure{"expired", websocket.StatusNormalClosure, "", "expired"}
	case errors.Is(reason, errDeleted):
		return closure{"deleted", websocket.StatusNormalClosure, "", ""}
	case errors.Is(reason, errIdle):
		return closure{"idle", websocket.StatusNormalClosure, "idle; resume with ?after=", "idle"}
	case errors.Is(reason, errPongTimeout):
		return closure{"silent", websocket.StatusPolicyViolation, "no answer to a ping; resume with ?after=", ""}
	case errors.Is(reason, errSlow), errors.Is(reason, os.ErrDeadlineExceeded), errors.Is(reason, context.DeadlineExceeded):
		return closure{"slow", websocket.StatusPolicyViolation, "too slow; resume with ?after=", ""}
	case apperr.Is(reason, apperr.TooLarge):
		return closure{"too_large", websocket.StatusMessageTooBig, "the frame is too large", ""}
	case websocket.CloseStatus(reason) != -1: // the client has sent a close frame
		return closure{"left", websocket.StatusNormalClosure, "", ""}
	}
	if _, ok := errors.AsType[net.Error](reason); ok || errors.Is(reason, io.EOF) || errors.Is(reason, net.ErrClosed) {
		return closure{"cut_off", websocket.StatusInternalError, "", ""}
	}
	return closure{"failed", websocket.StatusInternalError, "", ""}
}

// lastFrame returns the frame that is written before the close frame, or nil.
func (c closure) lastFrame(s *socket) []byte {
	switch {
	case c.label == "deleted":
		return errorFrame(s, errDeleted, "")
	case c.status != "":
		return statusFrame(s, c.status)
	}
	return nil
}
