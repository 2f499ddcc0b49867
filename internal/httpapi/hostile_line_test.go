package httpapi_test

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"parley/internal/contracttest"
)

// rawRequest is a request as it is sent, valid or invalid.
type rawRequest struct {
	op            operation
	method        string
	target        string
	proto         string
	headers       [][2]string
	body          []byte
	chunks        string // the chunked body; empty: the body has a Content-Length
	breaksFraming bool   // the server may read the bytes that follow as a part of the request
}

func (a *rawRequest) setHeader(name, value string) {
	a.removeHeader(name)
	a.headers = append(a.headers, [2]string{name, value})
}

func (a *rawRequest) removeHeader(name string) {
	a.headers = slices.DeleteFunc(a.headers, func(header [2]string) bool { return strings.EqualFold(header[0], name) })
}

// encode returns the bytes that are sent.
func (a *rawRequest) encode() []byte {
	var all bytes.Buffer
	fmt.Fprintf(&all, "%s %s %s\r\n", a.method, a.target, a.proto)
	for _, header := range a.headers {
		fmt.Fprintf(&all, "%s: %s\r\n", header[0], header[1])
	}
	switch {
	case a.chunks != "":
		fmt.Fprintf(&all, "Transfer-Encoding: chunked\r\n\r\n%s", a.chunks)
	case len(a.body) > 0 || a.method == http.MethodPost || a.method == http.MethodPatch:
		fmt.Fprintf(&all, "Content-Length: %d\r\n\r\n%s", len(a.body), a.body)
	default:
		all.WriteString("\r\n")
	}
	return all.Bytes()
}

// responseTimeout is the maximum duration of a response.
const responseTimeout = 20 * time.Second

// rawConnection is a connection to a server. It is reopened after it was closed.
type rawConnection struct {
	server *server
	conn   *net.TCPConn
	reader *bufio.Reader
}

func dialRaw(s *server) *rawConnection { return &rawConnection{server: s} }

func (l *rawConnection) close() {
	if l.conn != nil {
		_ = l.conn.SetLinger(0) // leave no socket in TIME_WAIT
		_ = l.conn.Close()
		l.conn = nil
	}
}

func (l *rawConnection) open() error {
	if l.conn != nil {
		return nil
	}
	conn, err := new(net.Dialer).DialContext(l.server.t.Context(), "tcp", strings.TrimPrefix(l.server.url, "http://"))
	if err != nil {
		return err
	}
	l.conn = conn.(*net.TCPConn)
	l.reader = bufio.NewReader(conn)
	return nil
}

// send sends a request and reads its response. After a request that breaks the framing, it reads all responses until
// the server closes the connection.
func (l *rawConnection) send(a *rawRequest) ([]answer, error) {
	if a.breaksFraming {
		l.close()
	}
	isFresh := l.conn == nil
	if err := l.open(); err != nil {
		return nil, err
	}
	_ = l.conn.SetDeadline(time.Now().Add(responseTimeout))
	_, _ = l.conn.Write(a.encode()) // the server may close the connection before it has read everything
	var got []answer
	for {
		if a.breaksFraming {
			l.closeWriteIfIdle()
		}
		response, err := l.read(a)
		if err != nil {
			l.close()
			if a.breaksFraming && !errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, errBrokenOff) {
				return got, nil
			}
			if !isFresh && !a.breaksFraming { // the server had closed the idle connection
				return l.send(a)
			}
			return got, fmt.Errorf("no response: %w", err)
		}
		got = append(got, response)
		isLast := response.header.Get("Connection") == "close" || response.status == http.StatusSwitchingProtocols
		if isLast {
			l.close()
		}
		if isLast || !a.breaksFraming {
			return got, nil
		}
	}
}

// closeWriteIfIdle closes the sending side if no response begins within a moment. Otherwise the server would wait for the rest
// of the body.
func (l *rawConnection) closeWriteIfIdle() {
	_ = l.conn.SetReadDeadline(time.Now().Add(idleTimeout))
	if _, err := l.reader.Peek(1); errors.Is(err, os.ErrDeadlineExceeded) {
		_ = l.conn.CloseWrite()
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(responseTimeout))
}

// idleTimeout is longer than most responses take.
const idleTimeout = 50 * time.Millisecond

// errBrokenOff is returned for responses that end in the middle, as exports and streams can.
var errBrokenOff = errors.New("broken off")

func (l *rawConnection) read(a *rawRequest) (answer, error) {
	for {
		response, err := http.ReadResponse(l.reader, &http.Request{Method: a.method})
		if err != nil {
			return answer{}, err
		}
		if response.StatusCode == http.StatusContinue {
			if a.breaksFraming {
				l.closeWriteIfIdle()
			}
			continue
		}
		got := answer{t: l.server.t, request: a.method + " " + a.target, status: response.StatusCode, header: response.Header}
		if response.StatusCode == http.StatusSwitchingProtocols {
			return got, nil
		}
		if response.Close {
			got.header.Set("Connection", "close")
		}
		got.body, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
		if err != nil {
			return got, fmt.Errorf("%w: %w", errBrokenOff, err)
		}
		return got, nil
	}
}

// libraryStatuses are statuses of responses that Go's HTTP server itself sends for malformed or unsupported HTTP. They
// are plain text, or empty for an unsupported Expect.
var libraryStatuses = []int{400, 417, 431, 501, 505}

// checkResponse returns an error unless the response is allowed for the request.
func (h *hostileTest) checkResponse(a *rawRequest, got answer) error {
	if got.header.Get("X-Request-Id") == "" && slices.Contains(libraryStatuses, got.status) && (len(got.body) == 0 || strings.HasPrefix(got.header.Get("Content-Type"), "text/plain")) {
		return nil
	}
	if a.method == http.MethodOptions && a.target == "*" {
		return nil // OPTIONS * concerns the server as a whole; the library answers it
	}
	if bytes.Contains(got.body, []byte(forbiddenText)) {
		return errors.New("the response exposes data of another organization")
	}
	if got.status >= 500 && (got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "") {
		return errors.New("the response is a server error")
	}
	isNoRecord := got.header.Get("Content-Type") == "application/x-ndjson" // an export of no records has no lines
	if got.status == http.StatusOK && len(got.body) == 0 && a.method != http.MethodHead && !isNoRecord {
		return errors.New("the response is a 200 without a body")
	}
	request, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(a.encode())))
	if err != nil || a.breaksFraming { // the response may belong to any request
		path := "/docs/any"
		if bytes.HasPrefix(got.body, []byte(`{"error":{`)) {
			path = "/v1/any"
		}
		request = must(http.NewRequestWithContext(h.t.Context(), cmp.Or(onlyHead(a.method), http.MethodGet), path, nil))
	}
	return contracttest.CheckResponse(request, &http.Response{StatusCode: got.status, Header: got.header}, got.body)
}

// onlyHead returns HEAD, whose responses have no body, for HEAD and an empty string otherwise.
func onlyHead(method string) string {
	if method != http.MethodHead {
		return ""
	}
	return method
}
