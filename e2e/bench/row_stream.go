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

// streamCount is how many replies of row 11 are read at once.
const streamCount = 50

// relay is what row 11 compares: all stand before the same model server.
type relay struct {
	model, proxy *harness.Process
	joined       *harness.Process // with Redis; nil where there is none
	bot          string
}

// streams is row 11.
func (b *bench) streams() row {
	var r relay
	what := fmt.Sprintf("streamed completion, %d of %d tokens at once: ", streamCount, tokensIn(b.seconds))
	const against = " / httputil.ReverseProxy's"
	return row{
		number: "11", isWarm: true,
		lines: []line{
			{what: what + "delay that is added to a token (p50 less that without anything between)" + against, must: atMost(1.5), aim: atMost(1.1), shows: p50},
			{what: what + "CPU a token" + against, must: atMost(2), aim: atMost(1.4), shows: perSecond("tokens")},
			{what: "the same with Redis: added delay" + against, shows: p50},
			{what: "the same with Redis: CPU a token (Redis's own not counted)" + against, shows: perSecond("tokens")},
		},
		prepare: func(ctx context.Context) error { return b.relay(ctx, &r) },
		measure: func(ctx context.Context, seconds int) ([]finding, error) { return b.measureStreams(ctx, r, seconds) },
	}
}

// relay starts what stands between.
func (b *bench) relay(ctx context.Context, r *relay) (err error) {
	if r.model, err = harness.StartSelf(ctx, b.dir, "model", nil); err != nil {
		return err
	}
	b.others = append(b.others, r.model.Stop)
	if r.proxy, err = harness.StartSelf(ctx, b.dir, "proxy", []byte(r.model.Base)); err != nil {
		return err
	}
	b.others = append(b.others, r.proxy.Stop)
	var made struct{ ID string }
	body := map[string]any{"name": "model", "engine": "openai", "model": map[string]any{"baseUrl": r.model.Base + "/v1", "name": "m"}}
	if err := harness.Call(ctx, http.MethodPost, b.server.Base+"/api/chatbots/", b.admin, body, &made); err != nil {
		return err
	}
	r.bot = made.ID
	program, err := exec.LookPath("redis-server")
	if err != nil {
		b.say("there is no redis-server: streams with Redis are not measured")
		return nil
	}
	address, end, err := startRedis(ctx, program, b.dir)
	if err != nil {
		return err
	}
	if r.joined, err = b.startServer(ctx, "REDIS_URL="+address); err != nil {
		return errors.Join(err, end())
	}
	b.others = append(b.others, r.joined.Stop, end)
	return nil
}

// startRedis starts a Redis on a unix socket, which keeps nothing.
func startRedis(ctx context.Context, program, dir string) (address string, end func() error, err error) {
	socket := filepath.Join(dir, "redis.socket")
	cmd := exec.Command(program, "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", dir) //nolint:noctx // end ends it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return "", nil, fmt.Errorf("start Redis: %w", err)
	}
	end = func() error {
		_ = cmd.Process.Kill() // it has nothing to keep
		_ = cmd.Wait()         // it was killed
		return nil
	}
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := new(net.Dialer).DialContext(ctx, "unix", socket)
		if err == nil {
			conn.Close()
			return "unix://" + socket, end, nil
		}
		<-ticker.C
		if time.Now().After(deadline) || ctx.Err() != nil {
			return "", nil, errors.Join(fmt.Errorf("redis is not ready: %w", err), end())
		}
	}
}

func (b *bench) measureStreams(ctx context.Context, r relay, seconds int) ([]finding, error) {
	tokens := tokensIn(seconds)
	plain := reading{
		Body: fmt.Sprintf(`{"model":"m","stream":true,"messages":[{"role":"user","content":"%d"}]}`, tokens), Streams: streamCount, Tokens: tokens,
	}
	ours := plain
	ours.Key, ours.Body = b.keys[0], fmt.Sprintf(`{"message":{"content":"%d"},"isStreaming":true}`, tokens)
	read := func(j reading, of *harness.Process, path string) (sample, error) {
		j.URL = of.Base + path
		var f found
		used, err := b.cost(of, func() (err error) {
			f, err = harness.RunWorker[found](ctx, "readers", j)
			return err
		})
		return f.sample(used), err
	}
	direct, err := read(plain, r.model, "/v1/chat/completions")
	if err != nil {
		return nil, fmt.Errorf("without anything between: %w", err)
	}
	proxy, err := read(plain, r.proxy, "/v1/chat/completions")
	if err != nil {
		return nil, fmt.Errorf("through the proxy: %w", err)
	}
	path := "/api/chatbots/" + r.bot + "/completions/"
	alone, err := read(ours, b.server, path)
	if err != nil {
		return nil, err
	}
	findings := compareStreams(alone, proxy, direct)
	if r.joined == nil {
		return append(findings, finding{ratio: math.NaN()}, finding{ratio: math.NaN()}), nil
	}
	joined, err := read(ours, r.joined, path)
	return append(findings, compareStreams(joined, proxy, direct)...), err
}

// tokensIn is how long a reply is: what storing it costs is shared by its tokens, so it
// is not too short a one.
func tokensIn(seconds int) int { return max(4, seconds) * int(time.Second/tokenTime) }

func compareStreams(ours, proxy, direct sample) []finding {
	// A median cannot be less than without anything between but by chance.
	added := func(s sample) sample {
		s.p50 = max(s.p50-direct.p50, time.Microsecond)
		return s
	}
	return []finding{
		{float64(added(ours).p50) / float64(added(proxy).p50), added(ours), added(proxy)},
		{ours.server / proxy.server, ours, proxy},
	}
}
