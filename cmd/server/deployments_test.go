package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// brokenDeployment is a reverse proxy with one defect.
type brokenDeployment struct {
	name string
	// only selects the checks to run, and fails lists those that must fail.
	only  string
	fails []string

	// change handles a request before the proxy.
	change func(w http.ResponseWriter, r *http.Request, next http.Handler)
	// answer changes a response.
	answer func(*http.Response)
	// idle is the idle timeout of the proxy, and silence how long the checks keep a connection idle.
	idle, silence time.Duration
	// losesHost drops the original Host header.
	losesHost bool
}

// serve starts the proxy in front of a server and returns its URL.
func (b brokenDeployment) serve(t *testing.T, server string) string {
	t.Helper()
	target, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16, DisableCompression: true}
	if b.idle > 0 {
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			return idleConn{conn, b.idle}, err
		}
	}
	t.Cleanup(transport.CloseIdleConnections)
	var proxy http.Handler = &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.URL.Path, r.Out.URL.RawPath = r.In.URL.Path, r.In.URL.RawPath
			if !b.losesHost {
				r.Out.Host = r.In.Host
			}
		},
		ModifyResponse: func(response *http.Response) error {
			if b.answer != nil {
				b.answer(response)
			}
			return nil
		},
		FlushInterval: -1,
		ErrorHandler:  func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// ReverseProxy fails if the response arrives before the end of the request body.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		if b.change != nil {
			b.change(w, r.WithContext(context.WithValue(r.Context(), behindKey{}, server)), proxy)
			return
		}
		proxy.ServeHTTP(w, r)
	})
	listening := httptest.NewUnstartedServer(handler)
	listening.Config.ErrorLog = nil
	listening.Start()
	t.Cleanup(func() {
		listening.CloseClientConnections()
		listening.Close()
	})
	return listening.URL
}

// behindKey is the context key of the server's URL.
type behindKey struct{}

// idleConn fails after an idle timeout.
type idleConn struct {
	net.Conn
	idle time.Duration
}

// Read reads with the idle timeout.
func (c idleConn) Read(into []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.idle)); err != nil {
		return 0, err
	}
	return c.Conn.Read(into)
}

// rewriting changes the whole body of the matching responses.
func rewriting(matches func(*http.Response) bool, change func([]byte) []byte) func(*http.Response) {
	return func(response *http.Response) {
		if !matches(response) {
			return
		}
		body, _ := io.ReadAll(response.Body) // a partial body is enough
		response.Body.Close()
		body = change(body)
		response.Body = io.NopCloser(bytes.NewReader(body))
		response.ContentLength = int64(len(body))
		response.Header.Set("Content-Length", strconv.Itoa(len(body)))
	}
}

func ofType(kind string) func(*http.Response) bool {
	return func(response *http.Response) bool {
		return strings.HasPrefix(response.Header.Get("Content-Type"), kind)
	}
}

func ofPath(part string) func(*http.Response) bool {
	return func(response *http.Response) bool { return strings.Contains(response.Request.URL.Path, part) }
}

var microseconds = regexp.MustCompile(`(T\d\d:\d\d:\d\d\.\d{3})\d{3}Z`)

// brokenDeployments are common defects of proxies and of modified servers.
var brokenDeployments = []brokenDeployment{
	{
		name: "buffers streams", only: "^streams/", fails: []string{"streams/not-buffered"},
		answer: rewriting(ofType("text/event-stream"), func(body []byte) []byte { return body }),
	},
	{
		name: "compresses streams", only: "^streams/", fails: []string{"streams/not-compressed"},
		change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
				w.Header().Set("Content-Encoding", "gzip")
			}
			next.ServeHTTP(w, r)
		},
	},
	{
		name: "cuts idle connections", only: "^idle/", fails: []string{"idle/socket", "idle/stream"},
		idle: 3 * time.Second, silence: 7 * time.Second,
	},
	{
		name: "refuses WebSockets", only: "^(sockets/connected|sockets/visitor|messages/order)", fails: []string{"sockets/connected", "sockets/visitor"},
		change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Del("Upgrade")
			r.Header.Del("Connection")
			next.ServeHTTP(w, r)
		},
	},
	{
		name: "drops Retry-After", only: "^limits/", fails: []string{"limits/exceeded"},
		answer: func(response *http.Response) { response.Header.Del("Retry-After") },
	},
	{
		name: "drops Idempotency-Key", only: "^(idempotency|requests)/", fails: []string{"idempotency/other-body", "idempotency/replay", "idempotency/secret", "idempotency/stream", "requests/headers"},
		change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.Header.Del("Idempotency-Key")
			next.ServeHTTP(w, r)
		},
	},
	{
		name: "drops X-Request-Id", only: "^(errors|responses)/", fails: []string{"errors/request-id", "responses/request-id"},
		answer: func(response *http.Response) { response.Header.Del("X-Request-Id") },
	},
	{
		name: "drops Content-Disposition", only: "^records/", fails: []string{"records/export-header"},
		answer: func(response *http.Response) { response.Header.Del("Content-Disposition") },
	},
	{
		name: "replaces problems by HTML pages", only: "^(errors|responses)/", fails: []string{"errors/request-id", "errors/too-large", "errors/violations", "responses/problem"},
		answer: rewriting(ofType("application/problem+json"), func([]byte) []byte { return []byte("<h1>Something went wrong</h1>") }),
	},
	{
		name: "redirects to the other slash", only: "^(paths|responses)/", fails: []string{"paths/alternate-slash", "responses/no-redirect"},
		change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.URL.Path == "/api/messages" || r.URL.Path == "/api/me" {
				http.Redirect(w, r, r.URL.Path+"/", http.StatusPermanentRedirect)
				return
			}
			next.ServeHTTP(w, r)
		},
	},
	{
		name: "swaps endpoints that differ in a slash", only: "^(paths|service)/", fails: []string{"paths/distinct-slash", "paths/escapes"},
		change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			switch r.URL.Path {
			case "/api/conversations":
				r.URL.Path = "/api/conversations/"
			case "/api/conversations/":
				r.URL.Path = "/api/conversations"
			}
			next.ServeHTTP(w, r)
		},
	},
	{
		name: "decodes escaped slashes", only: "^paths/", fails: []string{"paths/escapes"},
		change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			r.URL.RawPath = ""
			next.ServeHTTP(w, r)
		},
	},
	{
		name: "limits bodies", only: "^(errors/too-large|requests|resources)/?", fails: []string{"errors/too-large", "requests/one-mebibyte", "resources/upload"},
		change: func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if r.ContentLength > 1<<19 {
				http.Error(w, "too large", http.StatusRequestEntityTooLarge)
				return
			}
			next.ServeHTTP(w, r)
		},
	},
	{
		name: "hides the requested host", only: "^conversations/", fails: []string{"conversations/cursor-pages"},
		losesHost: true,
	},
	{
		name: "caches responses", only: "^conversations/(batch|change)", fails: []string{"conversations/change"},
		change: caching(),
	},
	{
		name: "loses a message of the history", only: "^(history|messages/(order|lists))", fails: []string{"history/pages", "messages/order"},
		answer: rewriting(ofPath("/history"), func(body []byte) []byte {
			var page struct {
				Messages []json.RawMessage `json:"messages"`
				HasMore  bool              `json:"has_more"`
			}
			if json.Unmarshal(body, &page) == nil && len(page.Messages) > 2 {
				page.Messages = append(page.Messages[:1], page.Messages[2:]...)
				body, _ = json.Marshal(page) // of raw JSON
			}
			return body
		}),
	},
	{
		name: "writes times to the millisecond", only: "^(messages/(order|queued)|history|responses/times)", fails: []string{"history/pages", "messages/order", "responses/times"},
		answer: rewriting(ofType("application/json"), func(body []byte) []byte { return microseconds.ReplaceAll(body, []byte("${1}Z")) }),
	},
	{
		name: "duplicates frames", only: "^sockets/(connected|errors|messages|rest|resume|ticket)", fails: []string{"sockets/messages", "sockets/rest", "sockets/resume"},
		change: repeatingFrames,
	},
	{
		name: "shortens exports", only: "^records/", fails: []string{"records/csv", "records/excel", "records/jsonl"},
		answer: rewriting(ofPath("/records/export"), func(body []byte) []byte { return body[:len(body)*2/3] }),
	},
	{
		name: "turns 404 into 200", only: "^tenancy/", fails: []string{"tenancy/unknown-ids", "tenancy/unknown-references"},
		answer: func(response *http.Response) {
			if response.StatusCode == http.StatusNotFound && response.Request.Method == http.MethodGet {
				response.StatusCode = http.StatusOK
			}
		},
	},
}

// caching answers a GET request with the first response for its URL.
func caching() func(http.ResponseWriter, *http.Request, http.Handler) {
	var kept sync.Map
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method != http.MethodGet || r.Header.Get("Upgrade") != "" || !strings.HasPrefix(r.URL.Path, "/api/conversations/") {
			next.ServeHTTP(w, r)
			return
		}
		recorded, isKept := kept.Load(r.URL.String())
		if !isKept {
			fresh := httptest.NewRecorder()
			next.ServeHTTP(fresh, r)
			recorded, _ = kept.LoadOrStore(r.URL.String(), fresh)
		}
		answer := recorded.(*httptest.ResponseRecorder)
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes()) // fails if the client has disconnected
	}
}

// repeatingFrames forwards frames, and duplicates the messages of the server.
func repeatingFrames(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if r.Header.Get("Upgrade") == "" {
		next.ServeHTTP(w, r)
		return
	}
	behind, answer, err := websocket.Dial(r.Context(), r.Context().Value(behindKey{}).(string)+r.URL.RequestURI(),
		&websocket.DialOptions{HTTPHeader: http.Header{"Authorization": r.Header["Authorization"]}})
	if err != nil {
		w.Header().Set("Content-Type", answer.Header.Get("Content-Type"))
		w.WriteHeader(answer.StatusCode)
		return
	}
	defer behind.CloseNow()
	before, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer before.CloseNow()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		defer cancel()
		for {
			kind, frame, err := before.Read(ctx)
			if err != nil || behind.Write(ctx, kind, frame) != nil {
				return
			}
		}
	}()
	for {
		kind, frame, err := behind.Read(ctx)
		if err != nil {
			return
		}
		times := 1
		if bytes.Contains(frame, []byte(`"type":"message"`)) {
			times = 2
		}
		for range times {
			if before.Write(ctx, kind, frame) != nil {
				return
			}
		}
	}
}
