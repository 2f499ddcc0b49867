package contract

import (
	"context"
	"net/http"
)

// headKey is the context key of the requests that AnswerHead has changed.
type headKey struct{}

// AnswerHead returns a handler that answers HEAD as next answers GET, with the same checks, status and
// headers. net/http discards the body. Responses that stream must check IsHead: they end after their
// headers, and start nothing.
func AnswerHead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			r = r.Clone(context.WithValue(r.Context(), headKey{}, true)) // net/http still sees HEAD
			r.Method = http.MethodGet
			r.Header.Del("Upgrade") // HEAD cannot open a WebSocket
		}
		next.ServeHTTP(w, r)
	})
}

// IsHead reports whether a request is a HEAD request that is answered like GET.
func IsHead(ctx context.Context) bool { return ctx.Value(headKey{}) != nil }

// methodOf returns the method that the client has sent.
func methodOf(r *http.Request) string {
	if IsHead(r.Context()) {
		return http.MethodHead
	}
	return r.Method
}
