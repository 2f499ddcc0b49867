package contract

import (
	"errors"
	"net/http"
	"time"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/fair"
)

const (
	// smallBody is the size up to which a JSON body is not counted.
	smallBody = 32 << 10
	// bodyFactor is how many times its size a body takes while it is read and validated.
	bodyFactor = 10
)

// bodyMemory bounds the memory, in bytes, that large JSON bodies take while they are read and validated.
// Organizations take turns, and each may use half of it, so that slow senders delay their own organization
// only.
var bodyMemory = fair.Limits{Size: 128 << 20, Share: 64 << 20, Waiting: 512, Wait: 20 * time.Second}

// takeBodyMemory waits until there is memory for the body of a request. Without a Content-Length the body
// counts as the largest one.
func (c *Contract) takeBodyMemory(r *http.Request, op *operation, principal auth.Principal) (release func(), err error) {
	size := r.ContentLength
	if size < 0 {
		size = op.bodyLimit
	}
	if op.bodySchema == nil || size <= smallBody || size > op.bodyLimit {
		return func() {}, nil
	}
	release, err = c.bodies.Acquire(r.Context(), principal.OrganizationID, size*bodyFactor)
	if errors.Is(err, fair.ErrFull) {
		err = &apperr.Error{Kind: apperr.Unavailable, Message: "Too many large requests of your organization are in progress. Retry later.", RetryAfter: 2 * time.Second, Err: err}
	}
	return release, err
}
