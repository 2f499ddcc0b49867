package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reading is what a process of readers is to do: ask for so many streams at once, and
// measure how old each token is when it comes.
type reading struct {
	URL, Key, Body  string
	Streams, Tokens int
}

var stamp = regexp.MustCompile(`@(\d{19})`)

func runReaders(ctx context.Context, in io.Reader, out io.Writer) error {
	var r reading
	if err := json.NewDecoder(in).Decode(&r); err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: r.Streams}}
	defer client.CloseIdleConnections()
	delays, errs := make([][]time.Duration, r.Streams), make([]error, r.Streams)
	began := time.Now()
	var all sync.WaitGroup
	for i := range r.Streams {
		all.Go(func() {
			// Not all tokens of all streams at the same moment.
			<-time.After(time.Duration(i) * tokenTime / 7)
			delays[i], errs[i] = r.read(ctx, client)
		})
	}
	all.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	together := slices.Sorted(slices.Values(slices.Concat(delays...)))
	if len(together) != r.Streams*r.Tokens {
		return fmt.Errorf("%d tokens came, of %d", len(together), r.Streams*r.Tokens)
	}
	return json.NewEncoder(out).Encode(found{
		Requests: len(together), Elapsed: time.Since(began), P50: together[len(together)/2], P99: together[len(together)*99/100],
	})
}

func (r reading) read(ctx context.Context, client *http.Client) (delays []time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, r.URL, bytes.NewReader([]byte(r.Body)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Api-Key "+r.Key)
	request.Header.Set("Content-Type", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if kind := answer.Header.Get("Content-Type"); answer.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		told, _ := io.ReadAll(io.LimitReader(answer.Body, 1000))
		return nil, fmt.Errorf("a stream was answered with %s, %s: %s", answer.Status, kind, told)
	}
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		for _, token := range stamp.FindAllSubmatch(lines.Bytes(), -1) {
			at, err := strconv.ParseInt(string(token[1]), 10, 64)
			if err != nil {
				return nil, err
			}
			delays = append(delays, time.Since(time.Unix(0, at)))
		}
	}
	return delays, lines.Err()
}
