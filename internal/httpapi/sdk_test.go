package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"

	"parley/client"
	api "parley/gen/client"
	"parley/internal/auth"
)

// cuttableProxy is a TCP proxy to the server whose connections can be cut.
type cuttableProxy struct {
	url string

	mu    sync.Mutex
	conns []net.Conn
	// opened counts the connections. The first deaf connections are cut when the server begins to respond.
	opened, deaf int
}

// connections returns the number of connections so far.
func (w *cuttableProxy) connections() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.opened
}

// startProxy starts a proxy to the server.
func startProxy(t *testing.T, s *server, deaf int) *cuttableProxy {
	t.Helper()
	listener := must(net.Listen("tcp", "127.0.0.1:0"))
	w := &cuttableProxy{url: "http://" + listener.Addr().String(), deaf: deaf}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() { w.forward(conn, strings.TrimPrefix(s.url, "http://")) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		w.cutAll()
		work.Wait()
	})
	return w
}

// forward copies data in both directions of one connection.
func (w *cuttableProxy) forward(conn net.Conn, address string) {
	defer conn.Close()
	behind, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer behind.Close()
	w.mu.Lock()
	w.opened++
	isDeaf := w.opened <= w.deaf
	w.conns = append(w.conns, conn, behind)
	w.mu.Unlock()
	var asking sync.WaitGroup
	asking.Go(func() {
		_, _ = io.Copy(behind, conn) // until either side is cut
		behind.Close()
	})
	if isDeaf {
		_, _ = behind.Read(make([]byte, 1))
	} else {
		_, _ = io.Copy(conn, behind)
	}
	conn.Close()
	asking.Wait()
}

// cutAll cuts all connections.
func (w *cuttableProxy) cutAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, conn := range w.conns {
		conn.Close()
	}
	w.conns = nil
}

// sdk returns a client of the Go SDK that connects through the proxy.
func (w *cuttableProxy) sdk(t *testing.T, key string) *client.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	options := []client.Option{client.WithHTTPClient(&http.Client{Transport: transport})}
	if key != "" {
		options = append(options, client.WithKey(key))
	}
	return must(client.New(w.url, options...))
}

// createNumberedBot creates a bot that replies with numbered deltas, and returns their text.
func (o organization) createNumberedBot(slug string, n, delayMS int) (text string) {
	o.t.Helper()
	var deltas []string
	for i := range n {
		deltas = append(deltas, strings.Repeat("字", i+1)+" ")
	}
	o.as("editor", auth.Manage).call(http.MethodPost, "/api/chatbots/", object{
		"name": slug, "slug": slug, "engine": "scripted",
		"script": object{"rules": []object{{"match": "fail", "deltas": deltas, "failAfter": 3}, {"deltas": deltas, "delayMs": delayMS}}},
	}).wantStatus(201)
	return strings.Join(deltas, "")
}

func completionRequest(content string) client.CompletionCreate {
	return client.CompletionCreate{Message: client.CompletionMessage{Content: content}}
}

func TestSDKResumesBrokenStreams(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	text := o.createNumberedBot("steady", 12, 100)
	w := startProxy(t, s, 0)
	sdk := w.sdk(t, o.as("alice", auth.Chat).key)

	// given a stream whose connection is cut repeatedly
	var received strings.Builder
	var last client.Event
	ids := map[string]bool{}
	for event, err := range sdk.CompletionEvents(t.Context(), "steady", nil, completionRequest("go on")) {
		if err != nil {
			t.Fatal(err)
		}
		if event.Reset != nil || ids[event.ID] && !event.Done {
			t.Fatalf("the request is replayed: %+v", event)
		}
		ids[event.ID] = true
		received.WriteString(event.Content)
		if last = event; len(ids)%3 == 0 {
			w.cutAll()
		}
	}

	// then no text is lost or duplicated, and there is one question with one reply
	if received.String() != text || !last.Done || *last.FinishReason != api.FinishReasonStop {
		t.Errorf("%q ends with %+v", received.String(), last)
	}
	history, err := sdk.GetHistoryWithResponse(t.Context(), last.ConversationID.String(), nil)
	if err != nil || len(history.JSON200.Messages) != 2 || history.JSON200.Messages[1].Content != text {
		t.Errorf("%v, %s", err, history.Body)
	}
	if n := w.connections(); n < 3 {
		t.Errorf("there were %d connections", n)
	}

	// and the events of the run can be read again from any position
	again, end, err := client.ReadReply(sdk.RunEvents(t.Context(), last.RunID.String(), ""))
	if err != nil || again != text || !end.Done {
		t.Errorf("%q, %+v, %v", again, end, err)
	}
	if rest, _, err := client.ReadReply(sdk.RunEvents(t.Context(), last.RunID.String(), "1.4")); err != nil || rest != text[4:] {
		t.Errorf("%q, %v", rest, err)
	}
}

// If the response is lost before it begins, the SDK retries, and the question is stored once.
func TestSDKRetriesStoreOneQuestion(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	wanted := o.createNumberedBot("steady", 3, 0)
	w := startProxy(t, s, 2)
	received, _, err := client.ReadReply(w.sdk(t, o.as("alice", auth.Chat).key).CompletionEvents(t.Context(), "steady", nil, completionRequest("go on")))
	if err != nil || received != wanted {
		t.Errorf("%q, %v", received, err)
	}
	if runs, n := query[int](s, "SELECT count(*) FROM runs"), w.connections(); runs != 1 || n != 3 {
		t.Errorf("%d runs over %d connections", runs, n)
	}
}

func TestSDKReportsFailures(t *testing.T) {
	t.Parallel()
	s := serveWith(t, settings{limits: map[string]int{"messages": 1}})
	o := s.organization()
	o.createNumberedBot("steady", 5, 0)
	sdk := startProxy(t, s, 0).sdk(t, o.as("alice", auth.Chat).key)

	// a reply that fails ends with its event and its problem
	text, last, err := client.ReadReply(sdk.CompletionEvents(t.Context(), "steady", nil, completionRequest("fail")))
	failed, ok := errors.AsType[*client.ProblemError](err)
	if !ok || failed.Problem.Error != api.ProblemCodeUpstreamFailed || !last.Done || text == "" {
		t.Errorf("%q, %+v, %v", text, last, err)
	}
	// an exceeded rate limit is reported immediately
	_, _, err = client.ReadReply(sdk.CompletionEvents(t.Context(), "steady", nil, completionRequest("go on")))
	if limited, ok := errors.AsType[*client.ProblemError](err); !ok || limited.Problem.Error != api.ProblemCodeRateLimited || *limited.Problem.RetryAfter < 1 {
		t.Errorf("%v", err)
	}
	// and so is the end of the caller's context
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = client.ReadReply(sdk.RunEvents(ctx, last.RunID.String(), "")); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	// Other methods report errors in the same way.
	unknown, err := sdk.GetRunWithResponse(t.Context(), "nothing")
	if err != nil {
		t.Fatal(err)
	}
	if refused, ok := errors.AsType[*client.ProblemError](client.ErrorOf(unknown.HTTPResponse, unknown.Body)); !ok || refused.Problem.Status != 404 {
		t.Errorf("%s", unknown.Body)
	}
}

// A device that loses its connection repeatedly, even before a message is acknowledged, misses no message and stores
// none twice, with every way to authenticate.
func TestSDKReconnectsSockets(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat)
	tickets := startProxy(t, o.server, 0).sdk(t, alice.key)
	for name, options := range map[string]client.SocketOptions{
		"header":      {},
		"subprotocol": {Token: alice.key},
		"ticket": {Ticket: func(ctx context.Context) (string, error) {
			made, err := tickets.CreateWsTicketWithResponse(ctx, nil, api.WsTicketCreate{})
			if err != nil {
				return "", err
			}
			return made.JSON201.Ticket, client.ErrorOf(made.HTTPResponse, made.Body)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := startProxy(t, o.server, 0)
			key := alice.key
			if name != "header" {
				key = "nobody.knows-this-key"
			}
			options.SessionID, options.After = alice.startConversation(), new(int64)
			alice.call(http.MethodPatch, "/api/conversations/"+options.SessionID+"/", object{"autoReplyEnabled": false}).wantStatus(200)
			socket := w.sdk(t, key).NewSocket(options)
			said := []string{"one", "two", "three", "four", "five", "six"}
			next := 0
			say := func() {
				if err := socket.Send(client.ClientMessageFrame{Content: said[next]}); err != nil {
					t.Error(err)
				}
				if next++; next%2 == 0 {
					w.cutAll()
				}
			}
			say() // before the first connection
			received := []string{}
			delivered := 0
			for frame, err := range socket.Frames(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				switch frame := frame.(type) {
				case *client.MessageFrame:
					if received = append(received, frame.MessageID.String()); frame.Seq != int64(len(received)) {
						t.Fatalf("after %d the SDK received %+v", len(received)-1, frame)
					}
				case *client.StatusFrame:
					if frame.Status != client.StatusDelivered {
						continue
					}
					if delivered++; *frame.Seq == int64(len(received)+1) {
						received = append(received, frame.MessageID.String())
					} else if received[*frame.Seq-1] != frame.MessageID.String() {
						t.Fatalf("the SDK received %v, then %+v", received, frame)
					}
					if next < len(said) {
						say()
					}
				default:
					t.Fatalf("%+v", frame)
				}
				if delivered == len(said) {
					break
				}
			}
			stored := alice.call(http.MethodGet, "/api/conversations/"+options.SessionID+"/history", nil).wantStatus(200)["messages"].([]any)
			if n := w.connections(); len(stored) != len(said) || len(received) != len(said) || n < 3 {
				t.Fatalf("%d connections: %v, %v", n, received, stored)
			}
			for i, message := range stored {
				if message := message.(object); message["content"] != said[i] || message["id"] != received[i] {
					t.Errorf("message %d is %v; received %v", i+1, message, received)
				}
			}
		})
	}
}

// A visitor's socket reconnects in the same way and streams the reply. A refused connection returns the reason.
func TestSDKReconnectsSocketsOfVisitors(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	w := startProxy(t, o.server, 0)
	socket := w.sdk(t, "").NewSocket(client.SocketOptions{Stream: true})
	if err := socket.Send(client.ClientMessageFrame{Content: question}); err != nil {
		t.Fatal(err)
	}
	var grown strings.Builder
	greetings := 0
	for frame, err := range socket.Frames(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		switch frame := frame.(type) {
		case *client.StatusFrame:
			if frame.Status == client.StatusConnected {
				greetings++
			}
		case *client.TypingFrame:
			if frame.Delta != nil {
				grown.WriteString(*frame.Delta)
			}
		}
		if message, ok := frame.(*client.MessageFrame); !ok {
			continue
		} else if message.Sender != api.SpeakerBot || message.Content != longAnswer || grown.String() != longAnswer {
			t.Fatalf("%+v after %q", message, grown.String())
		}
		if greetings == 1 { // earlier messages are not received again
			w.cutAll()
			grown.Reset()
			if err := socket.Send(client.ClientMessageFrame{Content: question}); err != nil {
				t.Fatal(err)
			}
			continue
		}
		break
	}
	if greetings != 2 {
		t.Errorf("the welcome was received %d times", greetings)
	}

	for _, err := range w.sdk(t, o.as("alice", auth.Chat).key).NewSocket(client.SocketOptions{SessionID: "nothing"}).Frames(t.Context()) {
		if refused, ok := errors.AsType[*client.ProblemError](err); !ok || refused.Problem.Error != api.ProblemCodeNotFound {
			t.Errorf("%v", err)
		}
	}
}
