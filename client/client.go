// Package client is the Go SDK of Parley.
//
// A [Client] has a method for every operation of the API, with the types of package
// parley/gen/client (generated from the OpenAPI document; import it as api). On top of these the
// package adds what a long-lived client needs:
//
//   - [Client.CompletionEvents] and [Client.RunEvents] stream a reply and resume it after a broken
//     connection.
//   - [Client.NewSocket] returns a [Socket], a WebSocket conversation that reconnects, replays what
//     it missed and resends what was not acknowledged.
//   - [ErrorOf] turns a refused request into a [*ProblemError].
//
// Ask a chatbot and print its reply while it is written:
//
//	parley, err := client.New("https://chat.example.com", client.WithKey(key))
//	if err != nil {
//		return err
//	}
//	question := client.CompletionCreate{Message: client.CompletionMessage{Content: "Do you ship abroad?"}}
//	for event, err := range parley.CompletionEvents(ctx, "support", nil, question) {
//		if err != nil {
//			return err
//		}
//		if event.Reset != nil {
//			// Discard the text so far.
//		}
//		fmt.Print(event.Content)
//	}
//
// # Delivery
//
// A stream yields every part of a reply exactly once and in order, across any number of
// connections. If another server has to restart the reply, an event with Reset carries the whole
// text so far. A question is stored once: the request carries an Idempotency-Key, so it can be
// retried when its answer is lost.
//
// A socket yields every message after [SocketOptions].After exactly once and in order, and stores
// every sent message exactly once. [Socket.Frames] describes the one exception.
//
// # Retries
//
// Streams and sockets retry when the connection breaks, falls silent, or a proxy or server answers
// 502, 503 or 504, and while an earlier attempt with the same Idempotency-Key is still running (409
// with a Retry-After). They try six times in a row, with exponential backoff and jitter between 0.1
// and 5 seconds, and honor a Retry-After of up to 30 seconds. Progress resets the count. Every other
// refusal is returned at once as a [*ProblemError].
//
// The generated methods send one request and never retry. To retry one safely, set its
// Idempotency-Key; Problem.Retryable reports whether that can help.
package client

import (
	"context"
	"net/http"

	api "parley/gen/client"
)

// Client calls the API of one Parley deployment. It is safe for concurrent use.
//
// The embedded methods, such as ListConversationsWithResponse, send one request each and decode its
// answer by status. Their error covers the transport only; check the status, or use [ErrorOf].
type Client struct {
	*api.ClientWithResponses
	raw *api.Client
}

// Option configures a Client. The options of parley/gen/client can be used too.
type Option = api.ClientOption

// New returns a Client for the deployment at baseURL, such as "https://chat.example.com". It does
// not connect.
func New(baseURL string, options ...Option) (*Client, error) {
	raw, err := api.NewClient(baseURL, options...)
	if err != nil {
		return nil, err
	}
	return &Client{&api.ClientWithResponses{ClientInterface: raw}, raw}, nil
}

// WithKey authenticates every request with an API key or a client token.
func WithKey(key string) Option {
	return api.WithRequestEditorFn(func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+key)
		return nil
	})
}

// WithHTTPClient sends requests with the given client instead of a new one. Leave its Timeout at
// zero: it would break off long streams, which are then resumed. Bound requests by their context.
func WithHTTPClient(client *http.Client) Option { return api.WithHTTPClient(client) }

// Types of parley/gen/client that streams and sockets take or yield.
type (
	// Problem is an RFC 9457 problem document.
	Problem = api.Problem
	// CompletionCreate is a question to a chatbot.
	CompletionCreate = api.CompletionCreate
	// CompletionMessage is the message of a question.
	CompletionMessage = api.CompletionMessage
	// CreateCompletionParams are the headers of a question.
	CreateCompletionParams = api.CreateCompletionParams
	// ClientMessageFrame is a message to send over a socket.
	ClientMessageFrame = api.ClientMessageFrame
)
