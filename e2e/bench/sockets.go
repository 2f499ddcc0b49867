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
	"sync"
	"sync/atomic"
	"time"
)

// socketJob configures a sockets process. It keeps sockets open and, on request, sends messages that all of them
// receive.
type socketJob struct {
	Base    string
	Sockets int
	// The sockets share the first Count conversations with this prefix of ids.
	IDs      string
	Count    int
	Keys     []string
	Duration time.Duration
	// Frame is what the reference server is to write. If it is nil, a message is sent to the
	// product.
	Frame []byte
}

// deliveries is the measurement of a sockets process.
type deliveries struct {
	Count   int
	Elapsed time.Duration
	Frame   []byte // the last one received
}

// runSockets is the sockets process. It opens the sockets and answers with empty deliveries. For
// each further value of its input it measures once; at the end of its input it closes the sockets.
func runSockets(ctx context.Context, in io.Reader, out io.Writer) error {
	requests, responses := json.NewDecoder(in), json.NewEncoder(out)
	var job socketJob
	if err := requests.Decode(&job); err != nil {
		return err
	}
	p := &socketPool{socketJob: job, complete: make(chan struct{}, 1), failed: make(chan error, 1)}
	defer p.close()
	if err := p.openAll(ctx); err != nil {
		return err
	}
	if err := responses.Encode(deliveries{}); err != nil {
		return err
	}
	for {
		var request any
		switch err := requests.Decode(&request); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		result, err := p.measure(ctx)
		if err != nil {
			return err
		}
		if err := responses.Encode(result); err != nil {
			return err
		}
	}
}

// socketPool holds the open sockets.
type socketPool struct {
	socketJob
	mu    sync.Mutex
	conns []net.Conn
	frame []byte // the last one that the first socket received

	pending  atomic.Int64 // frames of the current message that have not arrived
	complete chan struct{}
	failed   chan error
	isClosed atomic.Bool
	readers  sync.WaitGroup
}

// openWorkers is how many sockets are opened at the same time.
const openWorkers = 16

func (p *socketPool) openAll(ctx context.Context) error {
	numbers := make(chan int, p.Sockets)
	for n := range p.Sockets {
		numbers <- n
	}
	close(numbers)
	errs := make([]error, openWorkers)
	var workers sync.WaitGroup
	for i := range openWorkers {
		workers.Go(func() {
			for n := range numbers {
				if errs[i] = p.open(ctx, n); errs[i] != nil {
					return
				}
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

// open opens a socket, awaits its first frame and starts its reader.
func (p *socketPool) open(ctx context.Context, number int) error {
	conn, err := dial(ctx, p.Base)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.conns = append(p.conns, conn)
	p.mu.Unlock()
	conversation := number % p.Count
	_, err = fmt.Fprintf(conn, "GET /ws?session_id=%s HTTP/1.1\r\nHost: parley\r\nAuthorization: Api-Key %s\r\nConnection: Upgrade\r\n"+
		"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
		idOf(p.IDs, conversation), p.Keys[conversation%len(p.Keys)])
	if err != nil {
		return err
	}
	reader := bufio.NewReaderSize(conn, 1024)
	response, err := http.ReadResponse(reader, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("open a socket: status %s: %s", response.Status, body)
	}
	if _, err := readText(conn, reader); err != nil {
		return err
	}
	p.readers.Go(func() { p.read(conn, reader, number == 0) })
	return nil
}

// read counts the frames of a socket until it is closed.
func (p *socketPool) read(conn net.Conn, reader *bufio.Reader, keepsFrame bool) {
	for {
		frame, err := readText(conn, reader)
		if err != nil {
			if !p.isClosed.Load() {
				select {
				case p.failed <- fmt.Errorf("a socket was closed: %w", err):
				default: // only the first error is reported
				}
			}
			return
		}
		if keepsFrame {
			p.mu.Lock()
			p.frame = frame
			p.mu.Unlock()
		}
		if p.pending.Add(-1) == 0 {
			p.complete <- struct{}{}
		}
	}
}

// measure sends messages one after the other. It sends the next one when all sockets have received the previous one.
func (p *socketPool) measure(ctx context.Context) (deliveries, error) {
	conn, err := dial(ctx, p.Base)
	if err != nil {
		return deliveries{}, err
	}
	defer conn.Close()
	path, mediaType, body := "/frames", "text/plain", string(p.Frame)
	if p.Frame == nil {
		path, mediaType, body = "/api/conversations/"+idOf(p.IDs, 0)+"/messages", "application/json", fmt.Sprintf(`{"content":%q}`, texts[0])
	}
	reader := bufio.NewReader(conn)
	var result deliveries
	start := time.Now()
	for time.Since(start) < p.Duration {
		p.pending.Store(int64(p.Sockets))
		if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: parley\r\nAuthorization: Api-Key %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
			path, p.Keys[0], mediaType, len(body), body); err != nil {
			return result, err
		}
		if err := readResponse(reader); err != nil {
			return result, err
		}
		select {
		case <-p.complete:
		case err := <-p.failed:
			return result, err
		case <-ctx.Done():
			return result, ctx.Err()
		}
		result.Count += p.Sockets
	}
	result.Elapsed = time.Since(start)
	p.mu.Lock()
	defer p.mu.Unlock()
	result.Frame = p.frame
	return result, nil
}

func (p *socketPool) close() {
	p.isClosed.Store(true)
	for _, conn := range p.conns {
		conn.Close()
	}
	p.readers.Wait()
}

// First bytes of unfragmented WebSocket frames (RFC 6455, section 5.2).
const (
	textFrame  = 0x81
	closeFrame = 0x88
	pingFrame  = 0x89
	pongFrame  = 0x8a
)

// readText returns the payload of the next text frame and answers pings. It is written by hand,
// because a client library would use more CPU than the server it measures.
func readText(conn net.Conn, from *bufio.Reader) ([]byte, error) {
	for {
		var head [2]byte
		if _, err := io.ReadFull(from, head[:]); err != nil {
			return nil, err
		}
		length := uint64(head[1])
		switch length {
		case 126:
			var extended [2]byte
			if _, err := io.ReadFull(from, extended[:]); err != nil {
				return nil, err
			}
			length = uint64(binary.BigEndian.Uint16(extended[:]))
		case 127:
			return nil, errors.New("a frame is larger than 64 KiB")
		}
		payload := make([]byte, length)
		if _, err := io.ReadFull(from, payload); err != nil {
			return nil, err
		}
		switch head[0] {
		case textFrame:
			return payload, nil
		case pingFrame:
			// The mask of zeros leaves the payload as it is.
			if _, err := conn.Write(append([]byte{pongFrame, 0x80 | byte(length), 0, 0, 0, 0}, payload...)); err != nil {
				return nil, err
			}
		case closeFrame:
			return nil, fmt.Errorf("close frame: %q", payload)
		default:
			return nil, fmt.Errorf("unexpected frame %x", head[0])
		}
	}
}
