package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// vitals are what a server tells of itself.
type vitals map[string]float64

// What a server holds at its beginning and at its end.
const (
	goroutines  = "go_goroutines"
	descriptors = "process_open_fds"
	resident    = "process_resident_memory_bytes"
)

// nothing of these is left when nobody asks for anything.
var idle = []string{"parley_sockets_open", "parley_replies_writing", "parley_replies_waiting", "parley_sends_waiting", "parley_conversations_locked"}

// What may be kept for the next time it is needed: connections to the database and to
// Redis, as many as their pools have places, and to the model server, each with its two
// goroutines.
const (
	spareDescriptors = 18 + 20 + 16
	spareGoroutines  = 2*16 + 8
)

func (s *server) vitals(ctx context.Context) (vitals, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(s.debug)+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	found := vitals{}
	for line := range strings.Lines(string(said)) {
		name, value, isNumber := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); isNumber && err == nil {
			found[name] = number
		}
	}
	return found, nil
}

// atRest tells whether a server holds no more than in the beginning, and if not, what.
func (s *server) atRest(ctx context.Context) error {
	now, err := s.vitals(ctx)
	if err != nil {
		return err
	}
	for _, name := range idle {
		if now[name] != 0 {
			return fmt.Errorf("server %s: %s is %.0f", s.name, name, now[name])
		}
	}
	for name, spare := range map[string]float64{goroutines: spareGoroutines, descriptors: spareDescriptors} {
		if now[name] > s.first[name]+spare {
			return fmt.Errorf("server %s: %s was %.0f and is %.0f", s.name, name, s.first[name], now[name])
		}
	}
	return nil
}
