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

// loadJob configures a load process. Each of its connections sends the next request when the previous one is
// answered.
type loadJob struct {
	Base        string
	Kind        loadKind
	Connections int
	Duration    time.Duration
	// The connections share the first Count conversations with this prefix of ids. Conversation n
	// belongs to the user of Keys[n mod len(Keys)].
	IDs   string
	Count int
	Keys  []string
	Seed  uint64
	// Path is the path that requests of the kind get request.
	Path string
	// MayFail ends the load with a note, instead of an error, when the server answers 503 or 504.
	MayFail bool
	// UntilClosed ends the load when its input is closed, if that is before Duration.
	UntilClosed bool
}

type loadKind string

const (
	sendMessage      loadKind = "send"
	createCompletion loadKind = "completion"
	getHistory       loadKind = "history"
	get              loadKind = "get"
)

// loadResult is what a load process measured.
type loadResult struct {
	Requests int
	Elapsed  time.Duration
	P50, P99 time.Duration
	Note     string // why it ended early
}

// runLoad is the load process.
func runLoad(ctx context.Context, in io.Reader, out io.Writer) error {
	var job loadJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return err
	}
	if job.UntilClosed {
		closing, end := context.WithCancel(ctx)
		defer end()
		go func() {
			_, _ = io.Copy(io.Discard, in) // any end is the signal
			end()
		}()
		ctx = closing
	}
	result, err := job.run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(result)
}

func (j loadJob) run(ctx context.Context) (loadResult, error) {
	ctx, cancel := context.WithTimeout(ctx, j.Duration)
	defer cancel()
	latencies := make([][]time.Duration, j.Connections)
	errs := make([]error, j.Connections)
	start := time.Now()
	var connections sync.WaitGroup
	for i := range j.Connections {
		connections.Go(func() {
			if latencies[i], errs[i] = j.connection(ctx, i); errs[i] != nil {
				cancel()
			}
		})
	}
	connections.Wait()
	result := loadResult{Elapsed: time.Since(start)}
	for _, err := range errs {
		var unavailable unavailableError
		switch {
		case j.MayFail && errors.As(err, &unavailable):
			result.Note = unavailable.Error()
		case err != nil:
			return result, err
		}
	}
	all := slices.Concat(latencies...)
	slices.Sort(all)
	if result.Requests = len(all); result.Requests > 0 {
		result.P50, result.P99 = all[result.Requests/2], all[result.Requests*99/100]
	}
	return result, nil
}

// connection sends requests until ctx is done and returns their latencies. It writes HTTP by hand,
// because a client library would use more CPU than the server it measures.
func (j loadJob) connection(ctx context.Context, number int) ([]time.Duration, error) {
	host := strings.TrimPrefix(j.Base, "http://")
	conn, err := dial(ctx, j.Base)
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
		j.writeRequest(&request, host, number, i, random)
		start := time.Now()
		if _, err := conn.Write(request.Bytes()); err != nil {
			return nil, err
		}
		if err := readResponse(reader); err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(start))
	}
	return latencies, nil
}

// writeRequest writes the i-th request of a connection.
func (j loadJob) writeRequest(to *bytes.Buffer, host string, number, i int, random *rand.Rand) {
	conversation := random.IntN(max(1, j.Count))
	if j.Kind == createCompletion {
		// Completions of one conversation wait for each other, so each connection has its own conversations.
		conversation = conversation/j.Connections*j.Connections + number
		if conversation >= j.Count {
			conversation = number
		}
	}
	id := idOf(j.IDs, conversation)
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
	fmt.Fprintf(to, "%s %s HTTP/1.1\r\nHost: %s\r\nAuthorization: Api-Key %s\r\n", method, path, host, j.Keys[conversation%len(j.Keys)])
	if body != "" {
		fmt.Fprintf(to, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	fmt.Fprintf(to, "\r\n%s", body)
}

// dial connects to a server.
func dial(ctx context.Context, base string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(base, "http://"))
}

// readResponse reads and discards a response. It returns an error for any status but 2xx.
func readResponse(from *bufio.Reader) error {
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	switch response.StatusCode {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return unavailableError(response.Status)
	}
	if response.StatusCode >= 300 {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return fmt.Errorf("status %s: %s", response.Status, body)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}

// unavailableError is the status of a server that could not answer in time.
type unavailableError string

// Error returns the status.
func (e unavailableError) Error() string { return "status " + string(e) }
