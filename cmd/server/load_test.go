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

// loadVariable has the test binary be a process that puts a server under load; it names
// the file of that process's notes.
const loadVariable = "PARLEY_TEST_LOAD"

// place is where the server is from now on, and what to do there.
type place struct {
	Base, Key     string
	Seed          uint64
	Conversations []talk
}

// talk is a conversation that is under load.
type talk struct{ Conversation, Bot string }

// Kinds of notes.
const (
	noteAsked        = "asked"        // a question is about to be sent for the first time
	noteAcknowledged = "acknowledged" // the server has said that it has it
	noteEvent        = "event"        // an event of a reply came
	noteRefused      = "refused"      // an answer that there should not be
)

// note is a line of what the loading process has seen. Its notes outlive the server.
type note struct {
	Kind         string
	Conversation string
	Content      string // of the question
	Run          string
	Message      sent
	Reading      string // which reading of a reply the event belongs to
	EventID      string
	Event        event
	Why          string
}

type notebook struct {
	mu   sync.Mutex
	file *os.File
}

// add writes a line, at once.
func (b *notebook) add(one note) {
	line, err := json.Marshal(one)
	if err != nil {
		panic(err) // a plain struct
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, err := b.file.Write(append(line, '\n')); err != nil {
		panic(err) // a test that cannot note what it saw is worth nothing
	}
}

// whereabouts tells the clients where the server is, until there is none any more.
type whereabouts struct {
	mu    sync.Mutex
	moved *sync.Cond
	place place
	moves int
	isEnd bool
}

func (w *whereabouts) move(to place, isEnd bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.place, w.isEnd = to, isEnd
	w.moves++
	w.moved.Broadcast()
}

// after waits for a place that came after so many moves. Not ok: there is none.
func (w *whereabouts) after(moves int) (at place, now int, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.isEnd && w.moves <= moves {
		w.moved.Wait()
	}
	return w.place, w.moves, !w.isEnd
}

// bearLoad puts the servers under load that in names, one place in each line, until its
// end. In each conversation one client asks for streams and another one sends messages.
func bearLoad(in io.Reader, path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer file.Close()
	notes := &notebook{file: file}
	server := &whereabouts{}
	server.moved = sync.NewCond(&server.mu)
	var clients sync.WaitGroup
	defer clients.Wait()
	defer server.move(place{}, true)
	lines := json.NewDecoder(in)
	for isFirst := true; ; isFirst = false {
		var to place
		if err := lines.Decode(&to); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		server.move(to, false)
		if !isFirst {
			continue
		}
		for i, one := range to.Conversations {
			clients.Go((&loader{talk: one, name: fmt.Sprintf("stream-%d", i), server: server, notes: notes}).askForStreams)
			random := rand.New(rand.NewPCG(to.Seed, uint64(i)))
			sender := &loader{talk: one, name: fmt.Sprintf("send-%d", i), server: server, notes: notes}
			clients.Go(func() { sender.sendInBursts(random) })
		}
	}
}

var loadClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: time.Minute}

// loader is one client, which asks its next question only when it has what it waits for.
type loader struct {
	talk

	name   string
	server *whereabouts
	notes  *notebook
	// moves is how often the server had moved when a request last failed.
	moves int
}

// askForStreams asks question after question and hears each answer to its end. A stream
// that breaks off is taken up by where it was, or by asking the same again.
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

// sendInBursts sends some messages, waits for the answer to the last one, and so on.
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

// ask makes a question that is like no other.
func (l *loader) ask(i int) string {
	content := fmt.Sprintf("%s-%d: What is Parley? 第%d題", l.name, i, i)
	l.notes.add(note{Kind: noteAsked, Conversation: l.Conversation, Content: content})
	return content
}

func keyOf(content string) string {
	key, _, _ := strings.Cut(content, ":")
	return key
}

// do makes one request after the other, each to another server, until one succeeds.
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
		one := note{Kind: noteAcknowledged, Conversation: l.Conversation, Content: content}
		if err := json.Unmarshal(answer, &one.Message); err != nil || status != http.StatusCreated {
			one.Kind, one.Why = noteRefused, fmt.Sprintf("%d: %s", status, answer)
		}
		one.Run, run = one.Message.RunID, one.Message.RunID
		l.notes.add(one)
		return nil
	})
	return run
}

// follow hears a reply to its end. open is given the run, where it is known, and the query
// that names the last event that came.
func (l *loader) follow(content, run string, open func(c client, run, last string) (*http.Response, error)) {
	readings, last := 0, ""
	l.do(func(c client) error {
		answer, err := open(c, run, last)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			said, _ := io.ReadAll(answer.Body)
			l.notes.add(note{Kind: noteRefused, Conversation: l.Conversation, Content: content, Run: run, Why: answer.Status + ": " + string(said)})
			return nil
		}
		run = answer.Header.Get("X-Run-Id")
		if answer.Request.Method == "POST" {
			l.notes.add(note{Kind: noteAcknowledged, Conversation: l.Conversation, Content: content, Run: run})
			readings++ // from the beginning
		}
		isDone := false
		err = eachEvent(answer.Body, func(one event) {
			l.notes.add(note{
				Kind: noteEvent, Conversation: l.Conversation, Content: content, Run: run,
				Reading: fmt.Sprintf("%s %d of %s", l.name, readings, run), EventID: one.ID, Event: one,
			})
			last, isDone = "?after="+one.ID, one.Done
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

// load is the process that puts servers under load.
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
		_ = l.cmd.Wait()         // the error of a second one is no news
	})
	return l
}

// moveTo says where the server is now.
func (l *load) moveTo(at place) {
	l.t.Helper()
	if err := json.NewEncoder(l.places).Encode(at); err != nil {
		l.t.Fatalf("the load has ended: %v\n%s", err, l.stderr.String())
	}
}

// end waits until the clients have given up, and reads what was noted.
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
		var one note
		if err == nil {
			err = json.Unmarshal(line, &one)
		}
		if err != nil {
			l.t.Fatal(err)
		}
		notes = append(notes, one)
	}
}
