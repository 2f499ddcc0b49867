package httpapi

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/internal/apperr"
	"parley/internal/auth"
)

// refusals is the class in which requests without a valid key are counted, for each
// address: who guesses keys is told to wait.
const refusals = "refusals"

// authenticate finds who is asking and whether the operation's scopes are there;
// nobody, where the operation takes no key, or takes none and none was sent. Client
// tokens are taken only where the operation says so.
func (c *contract) authenticate(ec echo.Context, op *operation) (auth.Principal, error) {
	header, ticket := credentials(ec.Request()), ""
	if op.takesTicket && header == "" {
		ticket = ec.Request().URL.Query().Get("ticket") // an empty one is refused as any other empty parameter
	}
	if op.isPublic || op.isOpen && header == "" && ticket == "" {
		return auth.Principal{}, nil
	}
	var who auth.Principal
	var err error
	if ticket != "" {
		who, err = c.auth.TakeTicket(ec.Request().Context(), ticket)
	} else {
		who, err = c.auth.Authenticate(ec.Request().Context(), header)
	}
	if apperr.Is(err, apperr.Unauthorized) {
		if _, limited := c.limiter.Take(ec.Request().Context(), refusals, addressOf(ec.Request())); limited != nil {
			return auth.Principal{}, limited
		}
	}
	if err != nil {
		return auth.Principal{}, err
	}
	if len(op.scopes) > 0 && !slices.ContainsFunc(op.scopes, who.Has) {
		return auth.Principal{}, apperr.New(apperr.Forbidden, fmt.Sprintf("The API key lacks the scope that this takes: %s.", join(op.scopes)))
	}
	if who.IsClientToken && !slices.Contains(op.clientTokens, who.Bounds.Purpose()) {
		return auth.Principal{}, apperr.New(apperr.Forbidden, "The client token is not for this operation.")
	}
	if who.Origin != "" && !strings.EqualFold(who.Origin, ec.Request().Header.Get("Origin")) {
		return auth.Principal{}, apperr.New(apperr.Forbidden, "The client token is for pages of another origin.")
	}
	return who, nil
}

// credentials is the Authorization header. A browser cannot set it on a WebSocket;
// it names the subprotocols bearer and the key instead.
func credentials(r *http.Request) string {
	if header := r.Header.Get("Authorization"); header != "" {
		return header
	}
	if r.Header.Get("Upgrade") == "" {
		return ""
	}
	offered := strings.Split(r.Header.Get("Sec-WebSocket-Protocol"), ",")
	for i, protocol := range offered {
		if strings.EqualFold(strings.TrimSpace(protocol), "bearer") {
			// Without a key beside it, it is a key that is not valid.
			return "Bearer " + strings.TrimSpace(strings.Join(offered[i+1:], ","))
		}
	}
	return ""
}

func addressOf(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// limit counts a request of an operation that has a rate class, or where it does not
// count only looks, and says on the answer what is left.
func (c *contract) limit(ec echo.Context, op *operation, who auth.Principal, counts bool) error {
	if op.rateClass == "" {
		return nil
	}
	take := c.limiter.Peek
	if counts {
		take = c.limiter.Take
	}
	state, err := take(ec.Request().Context(), op.rateClass, who.UserID.String())
	if state.Limit > 0 {
		header := ec.Response().Header()
		header.Set("RateLimit-Policy", fmt.Sprintf(`"%s";q=%d;w=60`, state.Class, state.Limit))
		header.Set("RateLimit", fmt.Sprintf(`"%s";r=%d;t=%d`, state.Class, state.Remaining, seconds(state.Reset)))
	}
	return err
}
