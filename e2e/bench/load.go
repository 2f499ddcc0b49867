package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// job is what a load process is to do: over so many connections, each of which
// sends its next request when the last one is answered.
type job struct {
	Base        string
	Kind        kind
	Connections int
	Duration    time.Duration
	// The first Count conversations of these ids, the connections share them;
	// conversation n belongs to the user of Keys[n mod len(Keys)].
	IDs   string
	Count int
	Keys  []string
	Seed  uint64
	// Path is what get asks for.
	Path string
	// MayFail has a load end, and tell so, where the server has no answer in time.
	MayFail bool
	// UntilClosed has it go on, at most for the duration, until its input ends.
	UntilClosed bool
}

type kind string

const (
	sendMessage      kind = "send"
	createCompletion kind = "completion"
	getHistory       kind = "history"
	get              kind = "get"
)

// found is what a load process has measured.
type found struct {
	Requests int
	Elapsed  time.Duration
	P50, P99 time.Duration
	Note     string // why there were no more
}

func runLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	var j job
	if err := json.NewDecoder(in).Decode(&j); err != nil {
		return err
	}
	if j.UntilClosed {
		closing, end := context.WithCancel(ctx)
		defer end()
		go func() {
			_, _ = io.Copy(io.Discard, in) // however it ends
			end()
		}()
		ctx = closing
	}
	f, err := j.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(f)
}

func (j job) run(ctx context.Context) (found, error) {
	ctx, cancel := context.WithTimeout(ctx, j.Duration)
	defer cancel()
	latencies := make([][]time.Duration, j.Connections)
	errs := make([]error, j.Connections)
	began := time.Now()
	var all sync.WaitGroup
	for i := range j.Connections {
		all.Go(func() {
			if latencies[i], errs[i] = j.connection(ctx, i); errs[i] != nil {
				cancel()
			}
		})
	}
	all.Wait()
	f := found{Elapsed: time.Since(began)}
	for _, err := range errs {
		var answer unavailable
		switch {
		case j.MayFail && errors.As(err, &answer):
			f.Note = string(answer)
		case err != nil:
			return f, err
		}
	}
	together := slices.Concat(latencies...)
	slices.Sort(together)
	if f.Requests = len(together); f.Requests > 0 {
		f.P50, f.P99 = together[f.Requests/2], together[f.Requests*99/100]
	}
	return f, nil
}

// connection sends requests until ctx is done. It speaks HTTP by hand: a client
// library would take more of the machine than what is measured.
func (j job) connection(ctx context.Context, number int) ([]time.Duration, error) {
	host := strings.TrimPrefix(j.Base, "http://")
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", host)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	random := rand.New(rand.NewPCG(j.Seed, uint64(number)))
	reader := bufio.NewReaderSize(conn, 64<<10)
	var latencies []time.Duration
	var request bytes.Buffer
	for i := 0; ctx.Err() == nil; i++ {
		request.Reset()
		j.write(&request, host, number, i, random)
		began := time.Now()
		if _, err := conn.Write(request.Bytes()); err != nil {
			return nil, err
		}
		if err := read(reader); err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(began))
	}
	return latencies, nil
}

// write writes the next request of a connection.
func (j job) write(to *bytes.Buffer, host string, number, i int, random *rand.Rand) {
	// A completion waits for its turn in its conversation: there each connection has
	// its own ones.
	place := random.IntN(max(1, j.Count))
	if j.Kind == createCompletion {
		place = place/j.Connections*j.Connections + number
		if place >= j.Count {
			place = number
		}
	}
	id := idOf(j.IDs, place)
	path, body := "/api/conversations/"+id+"/messages", fmt.Sprintf(`{"content":"%s%d"}`, texts[i%len(texts)], i*1000+number)
	switch j.Kind {
	case sendMessage:
	case createCompletion:
		path = "/api/chatbots/parley/completions/"
		body = fmt.Sprintf(`{"conversation":%q,"message":{"content":"What is Parley?"}}`, id)
	case getHistory:
		path, body = "/api/conversations/"+id+"/history?limit=50", ""
	case get:
		path, body = j.Path, ""
	}
	method := http.MethodPost
	if body == "" {
		method = http.MethodGet
	}
	fmt.Fprintf(to, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Api-Key %s\r\n", method, path, host, j.Keys[place%len(j.Keys)])
	if body != "" {
		fmt.Fprintf(to, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(to, "\r\n%s", body)
}

// read reads an answer, which must be a good one.
func read(from *bufio.Reader) error {
	answer, err := http.ReadResponse(from, nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return unavailable(answer.Status)
	}
	if answer.StatusCode >= 300 {
		told, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return fmt.Errorf("an answer was %s: %s", answer.Status, told)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// unavailable is the answer of a server that has none in time.
type unavailable string

// Error is the status.
func (u unavailable) Error() string { return "an answer was " + string(u) }
