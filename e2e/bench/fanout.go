package main

import (
	"context"
	"io"
	"net/http"
	"sync"

	"github.com/coder/websocket"
)

// fanOut is a minimal fan-out. It writes a frame to one socket after the other, with the same library as the product.
type fanOut struct {
	mu    sync.Mutex
	conns map[*websocket.Conn]struct{}
}

// connect holds a socket open until its client disconnects.
func (f *fanOut) connect(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{CompressionMode: websocket.CompressionDisabled})
	if err != nil {
		return // Accept has responded
	}
	defer func() { _ = conn.CloseNow() }()
	f.mu.Lock()
	if f.conns == nil {
		f.conns = map[*websocket.Conn]struct{}{}
	}
	f.conns[conn] = struct{}{}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.conns, conn)
	}()
	// The first frame confirms that the socket is open.
	err = conn.Write(context.Background(), websocket.MessageText, []byte("{}"))
	for err == nil {
		_, _, err = conn.Read(context.Background())
	}
}

// publish writes the request's body to all sockets.
func (f *fanOut) publish(w http.ResponseWriter, r *http.Request) {
	frame, err := io.ReadAll(r.Body)
	f.mu.Lock()
	defer f.mu.Unlock()
	for conn := range f.conns {
		if err == nil {
			err = conn.Write(context.Background(), websocket.MessageText, frame)
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
