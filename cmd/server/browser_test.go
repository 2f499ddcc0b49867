//go:build browser

package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
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
	s := newBrowserSites(t)
	allowed, foreign := s.site("allowed"), s.site("foreign")
	server := serving(t, newDir(t), "PARLEY_ALLOWED_ORIGINS="+originOf(allowed), "PARLEY_RATE_LIMITS=messages=60")
	text := s.connect(server, allowed, foreign)

	// when: a browser opens one page after the other
	browserLog := browse(t, originOf(allowed)+"/")
	deadline := time.After(testTimeout * 2)
	var could allowedFindings
	var couldNot foreignFindings
	s.await("allowed", &could, browserLog, deadline)
	if could.Failed != "" {
		t.Fatalf("the allowed page failed: %s", could.Failed)
	}
	s.await("foreign", &couldNot, browserLog, deadline)
	if couldNot.Failed != "" {
		t.Fatalf("the foreign page failed: %s", couldNot.Failed)
	}

	// then
	s.checkConversation("ticket", could.Ticket, text)
	s.checkConversation("token", could.Token, text)
	checkAllowedPage(t, could, text)
	checkForeignPage(t, couldNot)
	wanted := []string{ // the page cannot see these statuses
		"101", "101", "401", // with tickets
		"101", "101", // with tokens
		"403", "403", "403", "403", // from the foreign origin
	}
	if got := s.wire.statuses(); !slices.Equal(got, wanted) {
		t.Errorf("the statuses of the sockets are %v, want %v", got, wanted)
	}
	server.stop()
}

// browserSites are the web sites with the page, and their common backend.
type browserSites struct {
	t       *testing.T
	admin   client
	wire    *wire
	setting object                 // what the page needs to know
	reports map[string]chan []byte // the page's findings by site
}

func newBrowserSites(t *testing.T) *browserSites {
	return &browserSites{t: t, reports: map[string]chan []byte{"allowed": make(chan []byte, 1), "foreign": make(chan []byte, 1)}}
}

// site returns a site that is not started yet.
func (s *browserSites) site(name string) *httptest.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(browserPage)
	})
	mux.HandleFunc("POST /setting", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(s.setting) })
	mux.HandleFunc("POST /cut", func(w http.ResponseWriter, _ *http.Request) {
		s.wire.cut()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /say", func(w http.ResponseWriter, r *http.Request) {
		var said struct{ Conversation, Content string }
		if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		forward(w, s.admin, "/api/conversations/"+said.Conversation+"/messages", object{"content": said.Content})
	})
	mux.HandleFunc("POST /api/{what}/", func(w http.ResponseWriter, r *http.Request) {
		var body object
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		forward(w, s.admin, r.URL.Path, body)
	})
	mux.HandleFunc("POST /found", func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body) // a partial body fails the test later
		s.reports[name] <- content
		next := object{}
		if name == "allowed" {
			next["next"] = s.setting["foreign"]
		}
		_ = json.NewEncoder(w).Encode(next)
	})
	site := httptest.NewUnstartedServer(mux)
	s.t.Cleanup(site.Close)
	return site
}

func originOf(site *httptest.Server) string { return "http://" + site.Listener.Addr().String() }

// connect creates a chatbot on the server, connects the backend to the server and starts the sites. It returns the text
// of the chatbot's long reply.
func (s *browserSites) connect(server *process, allowed, foreign *httptest.Server) (text string) {
	s.t.Helper()
	s.admin = server.client(server.key)
	story, text := scriptRule("story", 30, 40)
	s.admin.createScriptedBot("storyteller", story, object{"deltas": []string{"Yes, ", "indeed."}})
	s.wire = newWire(s.t, strings.TrimPrefix(server.base, "http://"))
	s.setting = object{"server": server.base, "socket": "ws://" + s.wire.listener.Addr().String(), "allowed": originOf(allowed), "foreign": originOf(foreign) + "/"}
	allowed.Start()
	foreign.Start()
	return text
}

// await waits for the findings of a page.
func (s *browserSites) await(name string, into any, browserLog *transcript, deadline <-chan time.Time) {
	s.t.Helper()
	select {
	case content := <-s.reports[name]:
		if err := json.Unmarshal(content, into); err != nil {
			s.t.Fatalf("%v: %s", err, content)
		}
	case <-deadline:
		s.t.Fatalf("no report from the %s page; output of the browser:\n%s", name, browserLog)
	}
}

// checkConversation checks that the allowed page has a conversation without gaps or duplicates, although its connection
// was cut during a reply with the text.
func (s *browserSites) checkConversation(credential string, report conversing, text string) {
	t := s.t
	t.Helper()
	if want := (closing{Code: 1006, WasOpen: true}); report.Closed != want {
		t.Errorf("with a %s, the cut is reported as %+v", credential, report.Closed)
	}
	if want := (closing{Code: 1000, WasClean: true, WasOpen: true}); report.Ended != want {
		t.Errorf("with a %s, the end is reported as %+v", credential, report.Ended)
	}
	var has, wanted []string
	for _, message := range report.Messages {
		has = append(has, fmt.Sprintf("%d %s", message.Seq, message.Content))
	}
	for i, message := range s.admin.messages(report.Conversation) {
		wanted = append(wanted, fmt.Sprintf("%d %s", i+1, message.Content))
	}
	if len(wanted) != 6 || !slices.Equal(has, wanted) {
		t.Errorf("with a %s, the page has\n%s\nwant\n%s", credential, strings.Join(has, "\n"), strings.Join(wanted, "\n"))
	}
	if !slices.ContainsFunc(wanted, func(line string) bool { return strings.HasSuffix(line, text) }) {
		t.Errorf("with a %s, the interrupted reply is incomplete:\n%s", credential, strings.Join(wanted, "\n"))
	}
}

// checkAllowedPage checks that the page can authenticate sockets and read responses, headers, problems and streams.
func checkAllowedPage(t *testing.T, could allowedFindings, text string) {
	t.Helper()
	if could.Ticket.Protocol != "" || could.Token.Protocol != "bearer" {
		t.Errorf("the protocols are %q with a ticket and %q with a token", could.Ticket.Protocol, could.Token.Protocol)
	}
	if could.UsedTicket != notOpened {
		t.Errorf("a used ticket is reported as %+v", could.UsedTicket)
	}
	if is := could.Answer; is.Status != http.StatusOK || is.Content != "Yes, indeed." || is.RunID == "" || !regexp.MustCompile(`^"messages";r=\d+;t=\d+$`).MatchString(is.RateLimit) {
		t.Errorf("the answer is %+v", is)
	}
	if is := could.Problem; is.Status != http.StatusForbidden || is.Error != "forbidden" || is.RequestID == "" {
		t.Errorf("the problem is %+v", is)
	}
	if is := could.Stream; is.Text != text || is.Type != "text/event-stream" || is.Pieces < 4 || is.Done != 1 || is.FinishReason != "stop" {
		t.Errorf("the stream is %+v", is)
	}
}

// checkForeignPage checks that the page can neither open sockets nor read responses.
func checkForeignPage(t *testing.T, couldNot foreignFindings) {
	t.Helper()
	if !slices.Equal(couldNot.Sockets, slices.Repeat([]closing{notOpened}, 4)) {
		t.Errorf("the foreign page's sockets end with %+v", couldNot.Sockets)
	}
	if !slices.Equal(couldNot.Fetches, slices.Repeat([]string{"TypeError"}, 3)) || couldNot.Reached != "opaque" {
		t.Errorf("the foreign page's fetches give %q, and without CORS %q", couldNot.Fetches, couldNot.Reached)
	}
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
