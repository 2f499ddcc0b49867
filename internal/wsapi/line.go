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
	// sendBuffer is how many bytes the kernel keeps for a client that does not read, and
	// largerBuffer what it keeps for one that is cut off: the rest of a frame, and the
	// close. (Linux takes both twice, the larger one within net.core.wmem_max.)
	sendBuffer   = 64 << 10
	largerBuffer = 1 << 20
	// lastWords is how long a client that is cut off has for what the buffer does not take.
	lastWords = time.Second
)

// line is the connection below a WebSocket. A write that takes too long does not cut it
// off in the middle of a frame: the kernel is given room for the rest of the frame and
// for the close frame, which tells the client why, should it ever read on.
type line struct {
	net.Conn
	writing atomic.Int64 // since when a write is under way, in ns of the Unix time; 0: none is
	isSlow  atomic.Bool  // a write has taken too long

	crew *crew
	raw  syscall.RawConn // nil where the connection has none
	try  func(fd uintptr) (isDone bool)
	// data is what try writes, and tried how much of it was.
	data  []byte
	tried int
}

func newLine(conn net.Conn, crew *crew) *line {
	l := &line{Conn: conn, crew: crew}
	setBuffer(conn, sendBuffer)
	if tcp, ok := conn.(*net.TCPConn); ok {
		l.raw, _ = tcp.SyscallConn() // without it every write may have to wait
	}
	l.try = func(fd uintptr) bool {
		l.tried, _ = syscall.Write(int(fd), l.data) // an error comes again from the write that follows
		return true
	}
	return l
}

// Write writes all, unless hurry is called and there is no room even so. One at a time
// may write. What the kernel takes at once is given to it without the crew's noticing.
func (l *line) Write(data []byte) (written int, err error) {
	if l.raw != nil {
		l.data, l.tried = data, 0
		_ = l.raw.Write(l.try) // as above
		l.data, written = nil, max(l.tried, 0)
		if written == len(data) {
			return written, nil
		}
	}
	l.crew.wait(func() {
		var rest int
		rest, err = l.writeSlowly(data[written:])
		written += rest
	})
	return written, err
}

func (l *line) writeSlowly(data []byte) (int, error) {
	l.writing.Store(time.Now().UnixNano())
	defer l.writing.Store(0)
	written, err := l.Conn.Write(data)
	if !errors.Is(err, os.ErrDeadlineExceeded) || l.isSlow.Swap(true) {
		return written, err
	}
	setBuffer(l.Conn, largerBuffer)
	if err := l.SetWriteDeadline(time.Now().Add(lastWords)); err != nil {
		return written, err
	}
	rest, err := l.Conn.Write(data[written:])
	return written + rest, err
}

// hurry ends the patience with a write that is under way since before a time.
func (l *line) hurry(before time.Time) {
	if since := l.writing.Load(); since != 0 && since < before.UnixNano() && !l.isSlow.Load() {
		_ = l.SetWriteDeadline(time.Unix(1, 0)) // fails when it is closed
	}
}

func setBuffer(conn net.Conn, size int) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetWriteBuffer(size) // without it a client may learn less
	}
}
