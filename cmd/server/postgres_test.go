package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

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
	if code := server.awaitEnd(replyGracePeriod + requestGracePeriod + postgresGracePeriod); code != 1 {
		t.Errorf("it ended with %d", code)
	}
	if said := server.stderr.String(); !strings.Contains(said, "parley: the private PostgreSQL exited unexpectedly") {
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
