package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// loadVariable makes the test binary run as the load process (see TestMain). Its value is the path of the notes.
const loadVariable = "PARLEY_TEST_LOAD"

// target is the address of the current server, and the load to generate.
type target struct {
	Base, Key     string
	Seed          uint64
	Conversations []talk
}

// talk is a conversation under load.
type talk struct{ Conversation, Bot string }

// The kinds of notes.
const (
	noteAsked        = "asked"        // a question is about to be sent for the first time
	noteAcknowledged = "acknowledged" // the server has acknowledged the question
	noteEvent        = "event"        // an event of a reply was received
	noteRefused      = "refused"      // an unexpected response
)

// note is one observation of the load process, as a line of JSON. The notes survive a kill of the server.
type note struct {
	Kind         string
	Conversation string
	Content      string // of the question
	Run          string
	Message      sent
	Reading      string // identifies one pass over the events of a reply
	EventID      string
	Event        event
	Why          string
}

type notebook struct {
	mu   sync.Mutex
	file *os.File
}

// add writes a note immediately.
func (b *notebook) add(n note) {
	line, err := json.Marshal(n)
	if err != nil {
		panic(err) // a plain struct cannot fail
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.file.Write(append(line, '\n')); err != nil {
		panic(err) // without notes the test is worthless
	}
}

// targetTracker gives clients the address of the current server, until the load ends.
type targetTracker struct {
	mu    sync.Mutex
	moved *sync.Cond
	place target
	moves int
	isEnd bool
}

func (w *targetTracker) move(to target, isEnd bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.place, w.isEnd = to, isEnd
	w.moves++
	w.moved.Broadcast()
}

// after waits for a target newer than the given number of moves. ok is false once the load has ended.
func (w *targetTracker) after(moves int) (at target, now int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.isEnd && w.moves <= moves {
		w.moved.Wait()
	}
	return w.place, w.moves, !w.isEnd
}

// runLoad is the body of the load process. It reads targets from in, one JSON value after the other, until EOF. In each
// conversation one client requests streams and another one sends messages.
func runLoad(in io.Reader, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	notes := &notebook{file: file}
	server := &targetTracker{}
	server.moved = sync.NewCond(&server.mu)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer server.move(target{}, true)
	lines := json.NewDecoder(in)
	for isFirst := true; ; isFirst = false {
		var to target
		if err := lines.Decode(&to); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		server.move(to, false)
		if !isFirst {
			continue
		}
		for i, conversation := range to.Conversations {
			clients.Go((&loader{talk: conversation, name: fmt.Sprintf("stream-%d", i), server: server, notes: notes}).askForStreams)
			random := rand.New(rand.NewPCG(to.Seed, uint64(i)))
			sender := &loader{talk: conversation, name: fmt.Sprintf("send-%d", i), server: server, notes: notes}
			clients.Go(func() { sender.sendInBursts(random) })
		}
	}
}

var loadClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: time.Minute}

// loader is a client that sends its next question once the reply to the last one is complete.
type loader struct {
	talk

	name   string
	server *targetTracker
	notes  *notebook
	// moves is the number of moves when a request last failed.
	moves int
}

// askForStreams asks questions and reads each reply to its end. A broken stream is resumed after its last event, or by
// sending the same request again.
func (l *loader) askForStreams() {
	for i := 0; l.isOn(); i++ {
		content := l.ask(i)
		body := object{"conversation": l.Conversation, "isStreaming": true, "message": object{"content": content}}
		l.follow(content, "", func(c client, run, last string) (*http.Response, error) {
			if i%2 == 0 && run != "" {
				return c.open("GET", "/api/runs/"+run+"/events/"+last, nil)
			}
			return c.with("Idempotency-Key", keyOf(content)).open("POST", "/api/chatbots/"+l.Bot+"/completions/", body)
		})
	}
}

// sendInBursts sends a few messages, waits for the reply to the last one, and repeats.
func (l *loader) sendInBursts(random *rand.Rand) {
	for i := 0; l.isOn(); {
		var content, run string
		for range 1 + random.IntN(4) {
			content = l.ask(i)
			run = l.send(content)
			i++
		}
		if run != "" {
			l.follow(content, run, func(c client, run, last string) (*http.Response, error) {
				return c.open("GET", "/api/runs/"+run+"/events/"+last, nil)
			})
		}
	}
}

func (l *loader) isOn() bool {
	_, _, ok := l.server.after(0)
	return ok
}

// ask returns a unique question.
func (l *loader) ask(i int) string {
	content := fmt.Sprintf("%s-%d: What is Parley? 第%d題", l.name, i, i)
	l.notes.add(note{Kind: noteAsked, Conversation: l.Conversation, Content: content})
	return content
}

func keyOf(content string) string {
	key, _, _ := strings.Cut(content, ":")
	return key
}

// do repeats a request, each time on a newer server, until one succeeds.
func (l *loader) do(request func(client) error) {
	for {
		at, moves, ok := l.server.after(l.moves)
		if !ok {
			return
		}
		if request(client{base: at.Base, key: at.Key, http: loadClient}) == nil {
			return
		}
		l.moves = moves
	}
}

// send sends a message until it is acknowledged, and returns its run.
func (l *loader) send(content string) (run string) {
	l.do(func(c client) error {
		status, answer, err := c.with("Idempotency-Key", keyOf(content)).
			try("POST", "/api/conversations/"+l.Conversation+"/messages", object{"content": content})
		if err != nil {
			return err
		}
		n := note{Kind: noteAcknowledged, Conversation: l.Conversation, Content: content}
		if err := json.Unmarshal(answer, &n.Message); err != nil || status != http.StatusCreated {
			n.Kind, n.Why = noteRefused, fmt.Sprintf("%d: %s", status, answer)
		}
		n.Run, run = n.Message.RunID, n.Message.RunID
		l.notes.add(n)
		return nil
	})
	return run
}

// follow reads a reply to its end. open receives the run, if it is known, and the query with the last event ID.
func (l *loader) follow(content, run string, open func(c client, run, last string) (*http.Response, error)) {
	readings, last := 0, ""
	l.do(func(c client) error {
		answer, err := open(c, run, last)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			output, _ := io.ReadAll(answer.Body)
			l.notes.add(note{Kind: noteRefused, Conversation: l.Conversation, Content: content, Run: run, Why: answer.Status + ": " + string(output)})
			return nil
		}
		run = answer.Header.Get("X-Run-Id")
		if answer.Request.Method == "POST" {
			l.notes.add(note{Kind: noteAcknowledged, Conversation: l.Conversation, Content: content, Run: run})
			readings++ // a new pass from the beginning
		}
		isDone := false
		err = eachEvent(answer.Body, func(ev event) {
			l.notes.add(note{
				Kind: noteEvent, Conversation: l.Conversation, Content: content, Run: run,
				Reading: fmt.Sprintf("%s %d of %s", l.name, readings, run), EventID: ev.ID, Event: ev,
			})
			last, isDone = "?after="+ev.ID, ev.Done
		})
		if err == nil && !isDone {
			err = io.ErrUnexpectedEOF
		}
		if isDone {
			err = nil
		}
		return err
	})
}

// load is the load process.
type load struct {
	t      *testing.T
	cmd    *exec.Cmd
	places io.WriteCloser
	notes  string
	stderr transcript
}

func startLoad(t *testing.T) *load {
	t.Helper()
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	l := &load{t: t, cmd: exec.Command(own), notes: filepath.Join(t.TempDir(), "notes")}
	l.cmd.Env = append(os.Environ(), loadVariable+"="+l.notes)
	l.cmd.Stderr = &l.stderr
	if l.places, err = l.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := l.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill() // fails when it has ended
		_ = l.cmd.Wait()         // fails if it was waited for already
	})
	return l
}

// moveTo sends the process a new target.
func (l *load) moveTo(at target) {
	l.t.Helper()
	if err := json.NewEncoder(l.places).Encode(at); err != nil {
		l.t.Fatalf("the load process has ended: %v\n%s", err, l.stderr.String())
	}
}

// end ends the load, waits for the process, and reads its notes.
func (l *load) end() []note {
	l.t.Helper()
	if err := l.places.Close(); err != nil {
		l.t.Fatal(err)
	}
	if err := l.cmd.Wait(); err != nil {
		l.t.Fatalf("%v\n%s", err, l.stderr.String())
	}
	file, err := os.Open(l.notes)
	if err != nil {
		l.t.Fatal(err)
	}
	defer file.Close()
	var notes []note
	for lines := bufio.NewReader(file); ; {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return notes
		}
		var n note
		if err == nil {
			err = json.Unmarshal(line, &n)
		}
		if err != nil {
			l.t.Fatal(err)
		}
		notes = append(notes, n)
	}
}
