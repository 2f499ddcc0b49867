package wsapi

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// sendBuffer is the size of the kernel's send buffer, which holds data for a client that does not
	// read. Linux doubles it.
	sendBuffer = 64 << 10
	// closeBuffer replaces sendBuffer when a write times out. It has room for the rest of the frame and
	// for the close frame. Linux doubles it, but not beyond net.core.wmem_max.
	closeBuffer = 1 << 20
	// closeGracePeriod is how long a client may take to receive what closeBuffer cannot hold.
	closeGracePeriod = time.Second
)

// timeoutConn is the TCP connection below a WebSocket, with a write timeout.
//
// A write that times out does not end in the middle of a frame. Instead, the send buffer is enlarged
// once, so that the rest of the frame and the close frame fit. A client that resumes reading then
// learns why it was disconnected.
//
// Only one goroutine may write at a time. expireWrite may be called concurrently.
type timeoutConn struct {
	net.Conn
	pool *workerPool

	blockedSince atomic.Int64 // when the blocked write began, as Unix time in ns; 0 if no write is blocked
	isTimedOut   atomic.Bool  // a write has timed out

	raw syscall.RawConn // nil if the connection has no file descriptor that can be written to
	// tryWrite writes pending to a file descriptor without blocking and stores the number of bytes
	// written in accepted. It is a field so that a write allocates nothing.
	tryWrite func(fd uintptr) (isDone bool)
	pending  []byte
	accepted int
}

func newTimeoutConn(conn net.Conn, pool *workerPool) *timeoutConn {
	c := &timeoutConn{Conn: conn, pool: pool}
	setSendBuffer(conn, sendBuffer)
	if tcp, ok := conn.(*net.TCPConn); ok && canWriteRaw {
		c.raw, _ = tcp.SyscallConn() // without it, every write leaves the pool
	}
	c.tryWrite = func(fd uintptr) bool {
		c.accepted, _ = writeRaw(fd, c.pending) // the blocking write that follows returns the error
		return true
	}
	return c
}

// Write writes all of data, unless it times out and the enlarged buffer is full too. The part that the kernel accepts
// immediately is written directly. Only the rest is written outside the worker pool.
func (c *timeoutConn) Write(data []byte) (written int, err error) {
	if c.raw != nil {
		c.pending, c.accepted = data, 0
		_ = c.raw.Write(c.tryWrite) // the blocking write that follows returns the error
		c.pending, written = nil, max(c.accepted, 0)
		if written == len(data) {
			return written, nil
		}
	}
	c.pool.block(func() {
		var rest int
		rest, err = c.writeBlocking(data[written:])
		written += rest
	})
	return written, err
}

func (c *timeoutConn) writeBlocking(data []byte) (int, error) {
	c.blockedSince.Store(time.Now().UnixNano())
	defer c.blockedSince.Store(0)
	written, err := c.Conn.Write(data)
	if !errors.Is(err, os.ErrDeadlineExceeded) || c.isTimedOut.Swap(true) {
		return written, err
	}
	setSendBuffer(c.Conn, closeBuffer)
	if err := c.SetWriteDeadline(time.Now().Add(closeGracePeriod)); err != nil {
		return written, err
	}
	rest, err := c.Conn.Write(data[written:])
	return written + rest, err
}

// expireWrite ends a write that has been blocked since before the given time. It fails with a timeout.
func (c *timeoutConn) expireWrite(before time.Time) {
	if since := c.blockedSince.Load(); since != 0 && since < before.UnixNano() && !c.isTimedOut.Load() {
		_ = c.SetWriteDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
}

// setSendBuffer sets the size of the kernel's send buffer. A failure is ignored: the client may then
// receive less before it is disconnected.
func setSendBuffer(conn net.Conn, size int) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(size)
	}
}
