package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// audience is what a process of listeners is to do: hold so many sockets open, and on
// demand have messages sent that all of them get.
type audience struct {
	Base    string
	Sockets int
	// The first Count conversations of these ids, the sockets share them.
	IDs      string
	Count    int
	Keys     []string
	Duration time.Duration
	// Frame is what the floor is to write; without one a message is sent to the product.
	Frame []byte
}

// heard is what an audience tells: when all sockets are open, and what came then.
type heard struct {
	Deliveries int
	Elapsed    time.Duration
	Frame      []byte // the last one
}

// runAudience opens the sockets and says so; for each value that then comes in it
// listens once, and it leaves when there are no more.
func runAudience(ctx context.Context, in io.Reader, out io.Writer) error {
	demands, said := json.NewDecoder(in), json.NewEncoder(out)
	var a audience
	if err := demands.Decode(&a); err != nil {
		return err
	}
	h := &hall{audience: a, complete: make(chan struct{}, 1), failed: make(chan error, 1)}
	defer h.leave()
	if err := h.open(ctx); err != nil {
		return err
	}
	if err := said.Encode(heard{}); err != nil {
		return err
	}
	for {
		var demand any
		switch err := demands.Decode(&demand); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		result, err := h.listen(ctx)
		if err != nil {
			return err
		}
		if err := said.Encode(result); err != nil {
			return err
		}
	}
}

// hall is where an audience sits.
type hall struct {
	audience
	mu    sync.Mutex
	conns []net.Conn
	frame []byte // the last one that the first socket got

	awaited  atomic.Int64 // frames that are still to come
	complete chan struct{}
	failed   chan error
	isOver   atomic.Bool
	seats    sync.WaitGroup
}

// openers is how many sockets are opened at once.
const openers = 16

func (h *hall) open(ctx context.Context) error {
	numbers := make(chan int, h.Sockets)
	for n := range h.Sockets {
		numbers <- n
	}
	close(numbers)
	errs := make([]error, openers)
	var all sync.WaitGroup
	for i := range openers {
		all.Go(func() {
			for n := range numbers {
				if errs[i] = h.sit(ctx, n); errs[i] != nil {
					return
				}
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// sit opens a socket, and listens from its first frame on.
func (h *hall) sit(ctx context.Context, number int) error {
	conn, err := dial(ctx, h.Base)
	if err != nil {
		return err
	}
	h.mu.Lock()
	h.conns = append(h.conns, conn)
	h.mu.Unlock()
	conversation := number % h.Count
	_, err = fmt.Fprintf(conn, "GET /ws?session_id=%s HTTP/1.1\r\nHost: parley\r\nAuthorization: Api-Key %s\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		idOf(h.IDs, conversation), h.Keys[conversation%len(h.Keys)])
	if err != nil {
		return err
	}
	reader := bufio.NewReaderSize(conn, 1024)
	answer, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusSwitchingProtocols {
		told, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return fmt.Errorf("a socket was answered with %s: %s", answer.Status, told)
	}
	if _, err := readText(conn, reader); err != nil {
		return err
	}
	h.seats.Go(func() { h.hear(conn, reader, number == 0) })
	return nil
}

// hear counts what comes on a socket until it is closed.
func (h *hall) hear(conn net.Conn, reader *bufio.Reader, isKept bool) {
	for {
		frame, err := readText(conn, reader)
		if err != nil {
			if !h.isOver.Load() {
				select {
				case h.failed <- fmt.Errorf("a socket has ended: %w", err):
				default: // one is enough
				}
			}
			return
		}
		if isKept {
			h.mu.Lock()
			h.frame = frame
			h.mu.Unlock()
		}
		if h.awaited.Add(-1) == 0 {
			h.complete <- struct{}{}
		}
	}
}

// listen has one message after the other sent, the next one when all have got the
// last.
func (h *hall) listen(ctx context.Context) (heard, error) {
	conn, err := dial(ctx, h.Base)
	if err != nil {
		return heard{}, err
	}
	defer conn.Close()
	path, kind, body := "/frames", "text/plain", string(h.Frame)
	if h.Frame == nil {
		path, kind, body = "/api/conversations/"+idOf(h.IDs, 0)+"/messages", "application/json", fmt.Sprintf(`{"content":%q}`, texts[0])
	}
	reader := bufio.NewReader(conn)
	var result heard
	began := time.Now()
	for time.Since(began) < h.Duration {
		h.awaited.Store(int64(h.Sockets))
		if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: parley\r\nAuthorization: Api-Key %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			path, h.Keys[0], kind, len(body), body); err != nil {
			return result, err
		}
		if err := read(reader); err != nil {
			return result, err
		}
		select {
		case <-h.complete:
		case err := <-h.failed:
			return result, err
		case <-ctx.Done():
			return result, ctx.Err()
		}
		result.Deliveries += h.Sockets
	}
	result.Elapsed = time.Since(began)
	h.mu.Lock()
	defer h.mu.Unlock()
	result.Frame = h.frame
	return result, nil
}

func (h *hall) leave() {
	h.isOver.Store(true)
	for _, conn := range h.conns {
		conn.Close()
	}
	h.seats.Wait()
}

func dial(ctx context.Context, base string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(base, "http://"))
}

// The kinds of frames that a server sends (RFC 6455).
const (
	textFrame  = 0x81
	closeFrame = 0x88
	pingFrame  = 0x89
	pongFrame  = 0x8a
)

// readText reads the next text, and answers pings on the way. It is done by hand: a
// client library would take more of the machine than what is measured.
func readText(conn net.Conn, from *bufio.Reader) ([]byte, error) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return nil, err
		}
		length := uint64(head[1])
		switch length {
		case 126:
			var long [2]byte
			if _, err := io.ReadFull(from, long[:]); err != nil {
				return nil, err
			}
			length = uint64(binary.BigEndian.Uint16(long[:]))
		case 127:
			return nil, errors.New("a frame has more than 64 KiB")
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(from, payload); err != nil {
			return nil, err
		}
		switch head[0] {
		case textFrame:
			return payload, nil
		case pingFrame:
			// Masked with zeros, that is not at all.
			if _, err := conn.Write(append([]byte{pongFrame, 0x80 | byte(length), 0, 0, 0, 0}, payload...)); err != nil {
				return nil, err
			}
		case closeFrame:
			return nil, fmt.Errorf("it was closed: %q", payload)
		default:
			return nil, fmt.Errorf("a frame of the kind %x", head[0])
		}
	}
}
