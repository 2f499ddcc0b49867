package contract

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/clientaddr"
	"parley/internal/ratelimit"
)

// refusals is the rate limit class of requests without valid credentials. They are counted by
// client address, which slows down attempts to guess keys.
const refusals = "refusals"

// authenticate returns the principal of a request and checks that it may use the operation. The principal is the zero
// value if the operation accepts no credentials, or if they are optional and absent.
func (c *Contract) authenticate(ec echo.Context, op *operation) (auth.Principal, error) {
	r := ec.Request()
	header, ticket := credentials(r), ""
	if op.acceptsTicket && header == "" && !IsHead(r.Context()) {
		ticket = r.URL.Query().Get("ticket") // checkQuery refuses an empty one
	}
	if op.isPublic || op.isKeyOptional && header == "" && ticket == "" {
		return auth.Principal{}, nil
	}
	var principal auth.Principal
	var err error
	if ticket != "" {
		principal, err = c.Auth.TakeTicket(r.Context(), ticket)
	} else {
		principal, err = c.Auth.Authenticate(r.Context(), header)
	}
	if apperr.Is(err, apperr.Unauthorized) {
		ec.Set(keyPrefixKey, keyPrefix(header))
		if _, limitErr := c.Limiter.Take(r.Context(), refusals, ratelimit.By(clientaddr.Key(r.RemoteAddr))); limitErr != nil {
			return auth.Principal{}, limitErr
		}
	}
	if err != nil {
		return auth.Principal{}, err
	}
	return principal, authorize(r, op, principal)
}

// authorize checks the scopes of a principal, and the purpose and origin of a client token.
func authorize(r *http.Request, op *operation, principal auth.Principal) error {
	switch {
	case len(op.scopes) > 0 && !slices.ContainsFunc(op.scopes, principal.Has):
		return apperr.New(apperr.Forbidden, fmt.Sprintf("The API key lacks the required scope: %s.", join(op.scopes)))
	case principal.IsClientToken && !slices.Contains(op.clientTokens, principal.Bounds.Purpose()):
		return apperr.New(apperr.Forbidden, "The client token is not valid for this operation.")
	case principal.Origin != "" && !strings.EqualFold(principal.Origin, r.Header.Get("Origin")):
		return apperr.New(apperr.Forbidden, "The client token is not valid for this origin.")
	}
	return nil
}

// credentials returns the value of the Authorization header. Browsers cannot set that header on a
// WebSocket handshake; they offer the subprotocols `bearer` and the key instead.
func credentials(r *http.Request) string {
	if header := r.Header.Get("Authorization"); header != "" {
		return header
	}
	if r.Header.Get("Upgrade") == "" {
		return ""
	}
	protocols := strings.Split(r.Header.Get("Sec-WebSocket-Protocol"), ",")
	for i, protocol := range protocols {
		if strings.EqualFold(strings.TrimSpace(protocol), "bearer") {
			// `bearer` without a key is refused as an invalid key.
			return "Bearer " + strings.TrimSpace(strings.Join(protocols[i+1:], ","))
		}
	}
	return ""
}

// shownPrefix matches the public part of an API key.
var shownPrefix = regexp.MustCompile(`(?i)^(?:api-key|bearer) +([A-Za-z0-9_-]{4,64})\.`)

// keyPrefix returns the prefix of the API key in an Authorization header, or "".
func keyPrefix(header string) string {
	if match := shownPrefix.FindStringSubmatch(header); match != nil {
		return match[1]
	}
	return ""
}
