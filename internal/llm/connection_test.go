package llm_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"parley/internal/apperr"
	"parley/internal/bot"
	"parley/internal/egress"
	"parley/internal/llm"
)

func TestConnectionsAreReused(t *testing.T) {
	t.Parallel()
	withServer(t, replyWith(textEvent("Good day"), finishEvent("stop"), usage, done), func(t *testing.T, f *fixture) {
		dials := 0
		f.client = llm.NewTestClient(func(ctx context.Context, network, address string) (net.Conn, error) {
			dials++
			return f.listener.dial(ctx, network, address)
		})
		for range 3 {
			if got := f.ask(); got.err != nil {
				t.Fatal(got.err)
			}
		}
		f.client.Close()
		if dials != 1 {
			t.Errorf("got %d connections, want 1", dials)
		}
	})
}

// droppable is a connection that loses everything that is sent after the network has dropped it.
type droppable struct {
	net.Conn
	isDropped *atomic.Bool
}

func (d droppable) Write(data []byte) (int, error) {
	if d.isDropped.Load() {
		return len(data), nil
	}
	return d.Conn.Write(data)
}

// If the network drops connections silently, one question fails. The next question uses a new connection.
func TestTimeoutClosesIdleConnections(t *testing.T) {
	t.Parallel()
	bothConnected := make(chan struct{})
	handler := func(w http.ResponseWriter, r *http.Request, n int) {
		if n == 2 {
			close(bothConnected)
		}
		<-bothConnected // so that both questions have their own connections
		goodReply(w, r, n)
	}
	withServer(t, handler, func(t *testing.T, f *fixture) {
		var isDropped atomic.Pointer[atomic.Bool] // of the connections opened from now on
		isDropped.Store(new(atomic.Bool))
		f.client = llm.NewTestClient(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := f.listener.dial(ctx, network, address)
			return droppable{conn, isDropped.Load()}, err
		})
		defer f.client.Close()
		var questions sync.WaitGroup
		for range 2 {
			questions.Go(func() {
				if got := f.ask(); got.err != nil {
					t.Error(got.err)
				}
			})
		}
		questions.Wait()
		isDropped.Swap(new(atomic.Bool)).Store(true)
		mustFail(t, f.ask().err, apperr.Timeout, "did not begin")
		if got := f.ask(); got.err != nil {
			t.Error(got.err)
		}
	})
}

// A model server in a network that is not allowed receives nothing, and is not tried again.
func TestModelServerInPrivateNetworkIsRefused(t *testing.T) {
	t.Parallel()
	requests := new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1) }))
	t.Cleanup(server.Close)
	dials := 0
	client := llm.NewTestClient(func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return egress.Networks{}.Dialer().DialContext(ctx, network, address)
	})
	_, err := client.Ask(t.Context(), bot.Model{BaseURL: server.URL, Name: "small", HistoryTokens: 4000}, "", bot.Question{Text: "Hello?"}, func(string) error { return nil })
	if !errors.Is(err, egress.ErrRefused) || !apperr.Is(err, apperr.UpstreamFailed) || dials != 1 || requests.Load() != 0 {
		t.Errorf("error %v, %d attempts to connect, %d requests", err, dials, requests.Load())
	}
}
