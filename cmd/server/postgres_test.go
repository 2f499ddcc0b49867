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

func TestServerExitsWhenPrivatePostgresIsKilled(t *testing.T) {
	t.Parallel()
	// given: a server with requests in progress
	dir := newDir(t)
	server := serving(t, dir)
	api := server.client(server.key)
	conversation := api.start()
	lockTables(t, connect(t, server), "faqs")
	stream := api.ask(conversation)
	waiting := make(chan error, 1)
	go func() {
		status, answer, err := api.try("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "What is Parley?"}})
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(string(answer), `"unavailable"`)) {
			err = fmt.Errorf("status %d: %s", status, answer)
		}
		waiting <- err
	}()
	eventually(t, "both runs are in progress", func() bool { return count(server, "SELECT count(*) FROM runs WHERE state = 'running'") == 2 })

	// when: its PostgreSQL is killed
	pid, err := strconv.Atoi(postmaster(t, server))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}

	// then: the requests fail, and the server exits so that a supervisor can restart it
	if err := <-waiting; err != nil {
		t.Error(err)
	}
	events := readEvents(t, stream.Body)
	if len(events) != 1 || !events[0].Done || events[0].Error == nil {
		t.Errorf("events: %+v", events)
	}
	if code := server.awaitExit(replyGracePeriod + requestGracePeriod + postgresGracePeriod); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if output := server.stderr.String(); !strings.Contains(output, "parley: the private PostgreSQL exited unexpectedly") {
		t.Errorf("the log does not say why:\n%s", output)
	}
	eventually(t, "all processes of PostgreSQL have exited", func() bool { return len(processesOf(dir)) == 0 })

	// and: after a restart the question is answered
	next := serving(t, dir)
	within(t, time.Minute, "the reply is stored", func() bool { return len(next.client(server.key).messages(conversation)) == 2 })
	next.stop()
}

func TestIdleServerExitsAtOnceWhenPrivatePostgresIsKilled(t *testing.T) {
	t.Parallel()
	server := serving(t, newDir(t))
	pid, err := strconv.Atoi(postmaster(t, server))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	if code := server.awaitExit(5 * time.Second); code != 1 {
		t.Errorf("exit code %d", code)
	}
}
