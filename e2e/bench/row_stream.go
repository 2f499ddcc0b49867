package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"parley/e2e/harness"
)

// concurrentStreams is the number of replies that row 11 reads concurrently.
const concurrentStreams = 50

// relays are the servers that row 11 compares. All of them are in front of the same model server.
type relays struct {
	model, proxy *harness.Process
	withRedis    *harness.Process // nil if there is no redis-server
	bot          string
}

// rowStreams is row 11.
func (b *bench) rowStreams() row {
	var r relays
	what := fmt.Sprintf("streamed completion, %d of %d tokens at once: ", concurrentStreams, replyTokens(b.seconds))
	const reference = " / httputil.ReverseProxy"
	return row{
		number: "11", skipWarmUp: true,
		lines: []line{
			{what: what + "delay added per token (p50 minus p50 without a relay)" + reference, must: atMost(1.5), aim: atMost(1.1), format: p50},
			{what: what + "CPU per token" + reference, must: atMost(2), aim: atMost(1.4), format: rateOf("tokens")},
			{what: "same with Redis: added delay" + reference, format: p50},
			{what: "same with Redis: CPU per token (without Redis itself)" + reference, format: rateOf("tokens")},
		},
		prepare: func(ctx context.Context) error { return b.startRelays(ctx, &r) },
		measure: func(ctx context.Context, seconds int) ([]measurement, error) {
			return b.measureStreams(ctx, r, seconds)
		},
	}
}

// startRelays starts the model server, the proxy and, if there is a redis-server, a server with
// Redis.
func (b *bench) startRelays(ctx context.Context, r *relays) (err error) {
	if r.model, err = harness.StartSelf(ctx, b.dir, "model", nil); err != nil {
		return err
	}
	b.cleanups = append(b.cleanups, r.model.Stop)
	if r.proxy, err = harness.StartSelf(ctx, b.dir, "proxy", []byte(r.model.Base)); err != nil {
		return err
	}
	b.cleanups = append(b.cleanups, r.proxy.Stop)
	var created struct{ ID string }
	body := map[string]any{"name": "model", "engine": "openai", "model": map[string]any{"baseUrl": r.model.Base + "/v1", "name": "m"}}
	if err := harness.Call(ctx, http.MethodPost, b.server.Base+"/api/chatbots/", b.admin, body, &created); err != nil {
		return err
	}
	r.bot = created.ID
	program, err := exec.LookPath("redis-server")
	if err != nil {
		b.logf("no redis-server found: streams with Redis are not measured")
		return nil
	}
	address, stop, err := startRedis(ctx, program, b.dir)
	if err != nil {
		return err
	}
	if r.withRedis, err = b.startServer(ctx, "REDIS_URL="+address); err != nil {
		return errors.Join(err, stop())
	}
	b.cleanups = append(b.cleanups, r.withRedis.Stop, stop)
	return nil
}

// startRedis starts a Redis without persistence on a unix socket.
func startRedis(ctx context.Context, program, dir string) (address string, stop func() error, err error) {
	socket := filepath.Join(dir, "redis.socket")
	cmd := exec.Command(program, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir) //nolint:noctx // stop ends it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start Redis: %w", err)
	}
	stop = func() error {
		_ = cmd.Process.Kill() // nothing to save
		_ = cmd.Wait()         // reports the kill
		return nil
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			conn.Close()
			return "unix://" + socket, stop, nil
		}
		<-ticker.C
		if time.Now().After(deadline) || ctx.Err() != nil {
			return "", nil, errors.Join(fmt.Errorf("redis is not ready: %w", err), stop())
		}
	}
}

func (b *bench) measureStreams(ctx context.Context, r relays, seconds int) ([]measurement, error) {
	tokens := replyTokens(seconds)
	openAI := streamJob{
		Body: fmt.Sprintf(`{"model":"m","stream":true,"messages":[{"role":"user","content":"%d"}]}`, tokens), Streams: concurrentStreams, Tokens: tokens,
	}
	ours := openAI
	ours.Key, ours.Body = b.keys[0], fmt.Sprintf(`{"message":{"content":"%d"},"isStreaming":true}`, tokens)
	read := func(job streamJob, from *harness.Process, path string) (sample, error) {
		job.URL = from.Base + path
		var result loadResult
		used, err := b.measureCPU(from, func() (err error) {
			result, err = harness.RunWorker[loadResult](ctx, "streams", job)
			return err
		})
		return result.sample(used), err
	}
	direct, err := read(openAI, r.model, "/v1/chat/completions")
	if err != nil {
		return nil, fmt.Errorf("without a relay: %w", err)
	}
	proxy, err := read(openAI, r.proxy, "/v1/chat/completions")
	if err != nil {
		return nil, fmt.Errorf("through the proxy: %w", err)
	}
	path := "/api/chatbots/" + r.bot + "/completions/"
	alone, err := read(ours, b.server, path)
	if err != nil {
		return nil, err
	}
	measurements := compareStreams(alone, proxy, direct)
	if r.withRedis == nil {
		return append(measurements, measurement{ratio: math.NaN()}, measurement{ratio: math.NaN()}), nil
	}
	withRedis, err := read(ours, r.withRedis, path)
	return append(measurements, compareStreams(withRedis, proxy, direct)...), err
}

// replyTokens returns the length of a reply. It is not too short, because the cost of storing the reply is divided by
// its tokens.
func replyTokens(seconds int) int { return max(4, seconds) * int(time.Second/tokenInterval) }

func compareStreams(ours, proxy, direct sample) []measurement {
	// A relay can only be faster than the direct stream by chance.
	added := func(s sample) sample {
		s.p50 = max(s.p50-direct.p50, time.Microsecond)
		return s
	}
	return []measurement{
		{float64(added(ours).p50) / float64(added(proxy).p50), added(ours), added(proxy)},
		{ours.server / proxy.server, ours, proxy},
	}
}
