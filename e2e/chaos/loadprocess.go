package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"parley/e2e/harness"
)

// prepare creates the bots and conversations and returns the job of the load generator.
func (d *deployment) prepare(ctx context.Context, o options, pace time.Duration) (loadJob, error) {
	job := loadJob{
		Bases: [2]string{"http://" + address(d.servers[0].clients.port()), "http://" + address(d.servers[1].clients.port())},
		Key:   d.key, Seed: o.seed, Journal: filepath.Join(d.dir, "journal"), Devices: 3, Senders: 4, Pace: pace,
	}
	base := "http://" + address(d.servers[0].port)
	bots := []map[string]any{
		{"name": "scripted", "slug": "scripted", "engine": "scripted", "script": map[string]any{
			"rules": []any{map[string]any{"deltas": []string{"One ", "moment, ", "please. ", "Here ", "it ", "is."}, "delayMs": 60}},
		}},
		{"name": "model", "slug": "model", "engine": "openai", "model": map[string]any{"baseUrl": "http://" + address(d.toModel.port()) + "/v1", "name": "m"}},
	}
	for _, bot := range bots {
		var created struct{ ID string }
		if err := harness.Call(ctx, http.MethodPost, base+"/api/chatbots/", d.key, bot, &created); err != nil {
			return job, err
		}
	}
	for i := range 18 {
		c := conversation{Bot: []string{"", "", "", "parley", "scripted", "model"}[i%6]}
		var started struct {
			ID string `json:"conversation_id"`
		}
		body := map[string]any{"bot_id": "parley"}
		if c.Bot != "" {
			body["bot_id"] = c.Bot
		}
		if err := harness.Call(ctx, http.MethodPost, base+"/api/conversations/start", d.key, body, &started); err != nil {
			return job, err
		}
		c.ID = started.ID
		if c.Bot == "" {
			off := map[string]any{"autoReplyEnabled": false}
			if err := harness.Call(ctx, http.MethodPatch, base+"/api/conversations/"+c.ID+"/", d.key, off, &struct{}{}); err != nil {
				return job, err
			}
		}
		job.Conversations = append(job.Conversations, c)
	}
	return job, nil
}

// checkJob returns what to check after this load. The caller sets the times and seqs.
func (job loadJob) checkJob(d *deployment) checkJob {
	toCheck := checkJob{Journal: job.Journal, Database: d.postgres.url(d.postgres.port), Devices: map[string][]string{}}
	for i, c := range job.Conversations {
		for n := range job.Devices {
			toCheck.Devices[c.ID] = append(toCheck.Devices[c.ID], fmt.Sprintf("%d-%d", i, n))
		}
		if c.Bot == "model" {
			toCheck.ModelConversations = append(toCheck.ModelConversations, c.ID)
		}
	}
	return toCheck
}

// loadProcess is the load generator process.
type loadProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	phases *json.Encoder
	done   *json.Decoder
	log    *os.File
}

// startLoad starts the load generator and returns when all devices are connected.
func startLoad(ctx context.Context, job loadJob) (*loadProcess, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &loadProcess{cmd: exec.CommandContext(ctx, self, "load")}
	if p.log, err = os.Create(job.Journal + ".log"); err != nil {
		return nil, err
	}
	p.cmd.Stderr = p.log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.phases, p.done = json.NewEncoder(p.stdin), json.NewDecoder(stdout)
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	if err := p.do(job); err != nil {
		p.kill()
		return nil, fmt.Errorf("start the load: %w", err)
	}
	return p, nil
}

// do starts the next phase and waits for its end.
func (p *loadProcess) do(phase any) error {
	if err := p.phases.Encode(phase); err != nil {
		return fmt.Errorf("%w: %s", err, p.logTail())
	}
	var done bool
	if err := p.done.Decode(&done); err != nil {
		return fmt.Errorf("%w: %s", err, p.logTail())
	}
	return nil
}

func (p *loadProcess) logTail() string {
	logged, _ := os.ReadFile(p.log.Name())
	return harness.Tail(string(logged))
}

// kill ends the process if it is still running.
func (p *loadProcess) kill() {
	_ = p.stdin.Close()
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
	p.log.Close()
}
