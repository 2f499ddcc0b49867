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

// metrics are a server's metrics by name.
type metrics map[string]float64

// Metrics of a server's resources.
const (
	goroutines  = "go_goroutines"
	descriptors = "process_open_fds"
	resident    = "process_resident_memory_bytes"
)

// idleMetrics are 0 on an idle server.
var idleMetrics = []string{"parley_sockets_open", "parley_replies_writing", "parley_replies_waiting", "parley_sends_waiting", "parley_conversations_locked"}

// An idle server may keep its pooled connections to the database and to Redis, up to the sizes of the pools, and to
// the model server, with two goroutines each.
const (
	pooledDescriptors = 18 + 20 + 16
	pooledGoroutines  = 2*16 + 8
)

func (s *server) readMetrics(ctx context.Context) (metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address(s.debug)+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	found := metrics{}
	for line := range strings.Lines(string(body)) {
		name, value, hasValue := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); hasValue && err == nil {
			found[name] = number
		}
	}
	return found, nil
}

// checkIdle returns an error if the server holds more resources than at startup.
func (s *server) checkIdle(ctx context.Context) error {
	now, err := s.readMetrics(ctx)
	if err != nil {
		return err
	}
	for _, name := range idleMetrics {
		if now[name] != 0 {
			return fmt.Errorf("server %s: %s is %.0f", s.name, name, now[name])
		}
	}
	for name, pooled := range map[string]float64{goroutines: pooledGoroutines, descriptors: pooledDescriptors} {
		if now[name] > s.atStartup[name]+pooled {
			return fmt.Errorf("server %s: %s was %.0f at startup and is %.0f", s.name, name, s.atStartup[name], now[name])
		}
	}
	return nil
}
