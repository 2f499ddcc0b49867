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

// streamJob configures a streams process, which reads replies concurrently and measures the age of each token on
// arrival.
type streamJob struct {
	URL, Key, Body  string
	Streams, Tokens int
}

var tokenTime = regexp.MustCompile(`@(\d{19})`)

// runStreams is the streams process.
func runStreams(ctx context.Context, in io.Reader, out io.Writer) error {
	var job streamJob
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return err
	}
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: job.Streams}}
	defer client.CloseIdleConnections()
	ages, errs := make([][]time.Duration, job.Streams), make([]error, job.Streams)
	start := time.Now()
	var streams sync.WaitGroup
	for i := range job.Streams {
		streams.Go(func() {
			// The streams start at different times, so that their tokens do not coincide.
			<-time.After(time.Duration(i) * tokenInterval / 7)
			ages[i], errs[i] = job.read(ctx, client)
		})
	}
	streams.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	all := slices.Sorted(slices.Values(slices.Concat(ages...)))
	if len(all) != job.Streams*job.Tokens {
		return fmt.Errorf("received %d tokens, want %d", len(all), job.Streams*job.Tokens)
	}
	return json.NewEncoder(out).Encode(loadResult{
		Requests: len(all), Elapsed: time.Since(start), P50: all[len(all)/2], P99: all[len(all)*99/100],
	})
}

// read reads one stream and returns the ages of its tokens.
func (j streamJob) read(ctx context.Context, client *http.Client) (ages []time.Duration, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, j.URL, bytes.NewReader([]byte(j.Body)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Api-Key "+j.Key)
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if mediaType := response.Header.Get("Content-Type"); response.StatusCode != http.StatusOK || !strings.HasPrefix(mediaType, "text/event-stream") {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 1000))
		return nil, fmt.Errorf("a stream: status %s, Content-Type %s: %s", response.Status, mediaType, body)
	}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		for _, token := range tokenTime.FindAllSubmatch(lines.Bytes(), -1) {
			written, err := strconv.ParseInt(string(token[1]), 10, 64)
			if err != nil {
				return nil, err
			}
			ages = append(ages, time.Since(time.Unix(0, written)))
		}
	}
	return ages, lines.Err()
}
