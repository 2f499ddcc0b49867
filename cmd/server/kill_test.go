package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// load sends messages to conversations of its own until the server is gone, and
// notes those that were acknowledged.
type load struct {
	client       client
	acknowledged atomic.Int64
	senders      sync.WaitGroup
	sent         map[string][]sent // by conversation; read when the senders are done
}

func startLoad(c client) *load {
	l := &load{client: c, sent: map[string][]sent{}}
	var mu sync.Mutex
	for range 6 {
		conversation := c.start()
		l.senders.Go(func() {
			var mine []sent
			defer func() {
				mu.Lock()
				defer mu.Unlock()
				l.sent[conversation] = mine
			}()
			for i := 0; ; i++ {
				message, status, err := c.send(conversation, fmt.Sprintf("What is number %d? 第%d個是什麼?", i, i))
				switch {
				case err != nil:
					return
				case status == http.StatusCreated:
					mine = append(mine, message)
					l.acknowledged.Add(1)
				case status != http.StatusServiceUnavailable: // too many are waiting for their answers
					c.t.Errorf("a message is answered with %d", status)
					return
				}
			}
		})
	}
	return l
}

func TestNothingAcknowledgedIsLostByAKill(t *testing.T) {
	t.Parallel()
	// given servers that were killed under load, one after the other
	dir := newDir(t)
	var loads []*load
	var key string
	for range 3 {
		server := serving(t, dir)
		key = server.key
		one := startLoad(server.client(key))
		eventually(t, "some acknowledged messages", func() bool { return one.acknowledged.Load() > 150 })
		server.kill()
		one.senders.Wait()
		loads = append(loads, one)
	}

	// when the next one runs
	server := serving(t, dir)
	reader := server.client(key)

	// then what was acknowledged is there, in its place, and every question has its answer
	for _, one := range loads {
		for conversation, acknowledged := range one.sent {
			checkConversation(t, reader, conversation, acknowledged)
		}
	}
	server.stop()
}

func checkConversation(t *testing.T, c client, conversation string, acknowledged []sent) {
	t.Helper()
	var stored, questions, answers []message
	within(t, 2*time.Minute, "an answer to every question", func() bool {
		stored, questions, answers = c.messages(conversation), nil, nil
		for _, one := range stored {
			if one.Type == "incoming" {
				questions = append(questions, one)
			} else {
				answers = append(answers, one)
			}
		}
		return len(questions) == len(answers)
	})
	for i, one := range stored {
		if one.Seq != int64(i+1) {
			t.Fatalf("message %d has the seq %d", i+1, one.Seq)
		}
		if i > 0 && one.CreatedAt <= stored[i-1].CreatedAt {
			t.Errorf("seq %d is of %s, the one before it of %s", one.Seq, one.CreatedAt, stored[i-1].CreatedAt)
		}
	}
	for i, question := range questions {
		if answers[i].RunID != question.RunID || answers[i].Seq < question.Seq {
			t.Errorf("answer %d (seq %d) is not that of question %d (seq %d)", i+1, answers[i].Seq, i+1, question.Seq)
		}
	}
	for _, one := range acknowledged {
		if one.Seq > int64(len(stored)) {
			t.Errorf("the acknowledged message %s with seq %d is lost", one.ID, one.Seq)
			continue
		}
		if found := stored[one.Seq-1]; found.ID != one.ID || found.Content != one.content || found.CreatedAt != one.Timestamp {
			t.Errorf("acknowledged was %+v, stored is %+v", one, found)
		}
	}
}

func TestAServerWhosePostgresIsKilledEnds(t *testing.T) {
	t.Parallel()
	// given a server with a request on its way
	dir := newDir(t)
	server := serving(t, dir)
	asked := server.client(server.key)
	conversation := asked.start()
	hold(t, connect(t, server), "faqs")
	stream := asked.ask(conversation)
	waiting := make(chan error, 1)
	go func() {
		status, answer, err := asked.try("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "What is Parley?"}})
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(string(answer), `"unavailable"`)) {
			err = fmt.Errorf("it is answered with %d: %s", status, answer)
		}
		waiting <- err
	}()
	eventually(t, "the waiting of the request", func() bool { return count(server, "SELECT count(*) FROM runs WHERE state = 'running'") == 2 })

	// when its PostgreSQL is killed
	pid, err := strconv.Atoi(postmaster(t, server))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	// then the request is told so, and the server ends so that it can be started again
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	events := readEvents(t, stream.Body)
	if len(events) != 1 || !events[0].Done || events[0].Error == nil {
		t.Errorf("the stream ended with %+v", events)
	}
	if code := server.awaitEnd(replyGrace + requestGrace + postgresGrace); code != 1 {
		t.Errorf("it ended with %d", code)
	}
	if said := server.stderr.String(); !strings.Contains(said, "parley: the private PostgreSQL ended by itself") {
		t.Errorf("it does not say why:\n%s", said)
	}
	eventually(t, "the end of PostgreSQL's other processes", func() bool { return len(processesOf(dir)) == 0 })

	// and the next start answers what was asked
	next := serving(t, dir)
	within(t, time.Minute, "the answer", func() bool { return len(next.client(server.key).messages(conversation)) == 2 })
	next.stop()
}

func TestAnIdleServerWhosePostgresIsKilledEndsAtOnce(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	pid, err := strconv.Atoi(postmaster(t, server))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if code := server.awaitEnd(5 * time.Second); code != 1 {
		t.Errorf("it ended with %d", code)
	}
}
