//go:build browser

package main

import (
	"bufio"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

//go:embed testdata/browser.html
var browserPage []byte

// closing is the close event of a socket in the browser.
type closing struct {
	Code              int
	WasClean, WasOpen bool
}

// notOpened is the close event of a refused socket. Browsers hide the reason.
var notOpened = closing{Code: 1006}

// conversing is a page's report of a conversation whose connection was cut.
type conversing struct {
	Conversation, Protocol string
	Closed, Ended          closing
	Messages               []struct {
		Seq     int64
		Content string
	}
}

// allowedFindings is the report of the page from the allowed origin.
type allowedFindings struct {
	Failed        string
	Ticket, Token conversing
	UsedTicket    closing
	Answer        struct {
		Status                    int
		RateLimit, RunID, Content string
	}
	Problem struct {
		Status           int
		RequestID, Error string
	}
	Stream struct {
		Text, Type, FinishReason string
		Pieces, Done             int
	}
}

// foreignFindings is the report of the page from another origin.
type foreignFindings struct {
	Failed  string
	Sockets []closing
	Fetches []string
	Reached string
}

// A page in Chromium uses a server of another origin with tickets and client tokens of its backend. The same page from an
// origin that is not allowed cannot. The page is testdata/browser.html.
func TestBrowserUsesAPIFromAllowedOriginOnly(t *testing.T) {
	t.Parallel()

	// given: a server that allows one of two origins, each with the page and a backend that has the key
	var admin client
	var wire *wire
	var setting object
	found := map[string]chan []byte{"allowed": make(chan []byte, 1), "foreign": make(chan []byte, 1)}
	origin := func(name string) (server *httptest.Server, address string) {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = w.Write(browserPage)
		})
		mux.HandleFunc("POST /setting", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(setting) })
		mux.HandleFunc("POST /cut", func(w http.ResponseWriter, _ *http.Request) {
			wire.cut()
			w.WriteHeader(http.StatusNoContent)
		})
		mux.HandleFunc("POST /say", func(w http.ResponseWriter, r *http.Request) {
			var said struct{ Conversation, Content string }
			if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			forward(w, admin, "/api/conversations/"+said.Conversation+"/messages", object{"content": said.Content})
		})
		mux.HandleFunc("POST /api/{what}/", func(w http.ResponseWriter, r *http.Request) {
			var body object
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				http.Error(w, err.Error(), http.StatusBadRequest)
				return
			}
			forward(w, admin, r.URL.Path, body)
		})
		mux.HandleFunc("POST /found", func(w http.ResponseWriter, r *http.Request) {
			content, _ := io.ReadAll(r.Body) // a partial body fails the test later
			found[name] <- content
			next := object{}
			if name == "allowed" {
				next["next"] = setting["foreign"]
			}
			_ = json.NewEncoder(w).Encode(next)
		})
		server = httptest.NewUnstartedServer(mux)
		t.Cleanup(server.Close)
		return server, "http://" + server.Listener.Addr().String()
	}
	allowed, allowedOrigin := origin("allowed")
	foreign, foreignOrigin := origin("foreign")

	server := serving(t, newDir(t), "PARLEY_ALLOWED_ORIGINS="+allowedOrigin, "PARLEY_RATE_LIMITS=messages=60")
	admin = server.client(server.key)
	story, text := scriptRule("story", 30, 40)
	admin.createScriptedBot("storyteller", story, object{"deltas": []string{"Yes, ", "indeed."}})
	wire = newWire(t, strings.TrimPrefix(server.base, "http://"))
	setting = object{"server": server.base, "socket": "ws://" + wire.listener.Addr().String(), "allowed": allowedOrigin, "foreign": foreignOrigin + "/"}
	allowed.Start()
	foreign.Start()

	// when: a browser opens one page after the other
	browserLog := browse(t, allowedOrigin+"/")
	deadline := time.After(testTimeout * 2)
	await := func(name string, into any) {
		t.Helper()
		select {
		case content := <-found[name]:
			if err := json.Unmarshal(content, into); err != nil {
				t.Fatalf("%v: %s", err, content)
			}
		case <-deadline:
			t.Fatalf("no report from the %s page; output of the browser:\n%s", name, browserLog)
		}
	}
	var could allowedFindings
	var couldNot foreignFindings
	await("allowed", &could)
	if could.Failed != "" {
		t.Fatalf("the allowed page failed: %s", could.Failed)
	}
	await("foreign", &couldNot)
	if couldNot.Failed != "" {
		t.Fatalf("the foreign page failed: %s", couldNot.Failed)
	}

	// then: the allowed page has each conversation without gaps or duplicates, although its connection was cut
	for what, report := range map[string]conversing{"ticket": could.Ticket, "token": could.Token} {
		if want := (closing{Code: 1006, WasOpen: true}); report.Closed != want {
			t.Errorf("with a %s, the cut is reported as %+v", what, report.Closed)
		}
		if want := (closing{Code: 1000, WasClean: true, WasOpen: true}); report.Ended != want {
			t.Errorf("with a %s, the end is reported as %+v", what, report.Ended)
		}
		var has, wanted []string
		for _, message := range report.Messages {
			has = append(has, fmt.Sprintf("%d %s", message.Seq, message.Content))
		}
		for i, message := range admin.messages(report.Conversation) {
			wanted = append(wanted, fmt.Sprintf("%d %s", i+1, message.Content))
		}
		if len(wanted) != 6 || !slices.Equal(has, wanted) {
			t.Errorf("with a %s, the page has\n%s\nwant\n%s", what, strings.Join(has, "\n"), strings.Join(wanted, "\n"))
		}
		if !slices.ContainsFunc(wanted, func(line string) bool { return strings.HasSuffix(line, text) }) {
			t.Errorf("with a %s, the interrupted reply is incomplete:\n%s", what, strings.Join(wanted, "\n"))
		}
	}
	if could.Ticket.Protocol != "" || could.Token.Protocol != "bearer" {
		t.Errorf("the protocols are %q with a ticket and %q with a token", could.Ticket.Protocol, could.Token.Protocol)
	}
	if could.UsedTicket != notOpened {
		t.Errorf("a used ticket is reported as %+v", could.UsedTicket)
	}

	// and: it can read responses, headers, problems and streams
	if is := could.Answer; is.Status != http.StatusOK || is.Content != "Yes, indeed." || is.RunID == "" || !regexp.MustCompile(`^"messages";r=\d+;t=\d+$`).MatchString(is.RateLimit) {
		t.Errorf("the answer is %+v", is)
	}
	if is := could.Problem; is.Status != http.StatusForbidden || is.Error != "forbidden" || is.RequestID == "" {
		t.Errorf("the problem is %+v", is)
	}
	if is := could.Stream; is.Text != text || is.Type != "text/event-stream" || is.Pieces < 4 || is.Done != 1 || is.FinishReason != "stop" {
		t.Errorf("the stream is %+v", is)
	}

	// and: the foreign page can do none of this
	if !slices.Equal(couldNot.Sockets, slices.Repeat([]closing{notOpened}, 4)) {
		t.Errorf("the foreign page's sockets end with %+v", couldNot.Sockets)
	}
	if !slices.Equal(couldNot.Fetches, slices.Repeat([]string{"TypeError"}, 3)) || couldNot.Reached != "opaque" {
		t.Errorf("the foreign page's fetches give %q, and without CORS %q", couldNot.Fetches, couldNot.Reached)
	}

	// and: the statuses, which only the proxy sees, are the expected ones
	wanted := []string{
		"101", "101", "401", // with tickets
		"101", "101", // with tokens
		"403", "403", "403", "403", // from elsewhere
	}
	if got := wire.statuses(); !slices.Equal(got, wanted) {
		t.Errorf("the statuses of the sockets are %v, want %v", got, wanted)
	}
	server.stop()
}

// forward sends a request to the server as the page's backend, and returns its response.
func forward(w http.ResponseWriter, from client, path string, body any) {
	status, content, err := from.try("POST", path, body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.WriteHeader(status)
	_, _ = w.Write(content)
}

// browse opens a page until the test ends, and returns the output of the browser.
func browse(t *testing.T, address string) *transcript {
	t.Helper()
	// The browser has its own directory, and its own process group.
	dir := newDir(t)
	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	var output transcript
	cmd := exec.Command("chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--no-proxy-server", "--disable-background-networking", "--disable-component-update", "--disable-sync",
		"--disable-breakpad", "--remote-debugging-pipe", "--password-store=basic", "--user-data-dir="+filepath.Join(home, "profile"), address)
	cmd.Dir = home
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home, "XDG_RUNTIME_DIR=" + home}
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// The browser exits when its debugging pipe is closed, so it does not outlive a killed test.
	orders, giver, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	taker, answers, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{orders, answers}
	err = cmd.Start()
	orders.Close()
	answers.Close()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		defer giver.Close()
		defer taker.Close()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // fails if all have exited
		_ = cmd.Wait()                                      // it was killed
	})
	return &output
}

// wire is a TCP proxy that can cut its connections.
type wire struct {
	to       string
	listener net.Listener
	passing  sync.WaitGroup

	mu       sync.Mutex
	conns    map[*net.TCPConn]bool
	answered []string // the status of the first response on each connection
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{to: to, listener: listener, conns: map[*net.TCPConn]bool{}}
	w.passing.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return // closed
			}
			w.passing.Go(func() { w.pass(conn.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		listener.Close()
		w.cut()
		w.passing.Wait()
	})
	return w
}

// pass copies data until either side closes.
func (w *wire) pass(browser *net.TCPConn) {
	defer w.keep(browser)()
	conn, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	server := conn.(*net.TCPConn)
	defer w.keep(server)()
	w.passing.Go(func() {
		defer server.CloseWrite()
		_, _ = io.Copy(server, browser) // any error ends the copy
	})
	answers := bufio.NewReader(server)
	line, _ := answers.ReadString('\n') // empty if there was no request
	if _, rest, ok := strings.Cut(line, " "); ok {
		status, _, _ := strings.Cut(rest, " ")
		w.mu.Lock()
		w.answered = append(w.answered, status)
		w.mu.Unlock()
	}
	_, _ = io.WriteString(browser, line)
	_, _ = io.Copy(browser, answers)
}

// keep registers a connection for cut. drop closes it.
func (w *wire) keep(conn *net.TCPConn) (drop func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.conns[conn] = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.conns, conn)
		conn.Close()
	}
}

// cut resets all connections.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for conn := range w.conns {
		_ = conn.SetLinger(0) // send a reset instead of a FIN
		conn.Close()
	}
}

// statuses returns the statuses of the first responses so far, in order.
func (w *wire) statuses() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.answered)
}
