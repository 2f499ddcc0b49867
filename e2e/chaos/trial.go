package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"parley/e2e/harness"
)

// errNotRun is that a fault cannot be had here.
var errNotRun = errors.New("not run")

const (
	warmUp = 1500 * time.Millisecond
	// afterwards is how long the load goes on when the fault is over.
	afterwards = 2 * time.Second
	// answerTime is how long questions may wait for their answers when nothing is said any
	// more: for a lease to be over, and for a model that is silent to be given up.
	answerTime = 100 * time.Second
	restTime   = 30 * time.Second
)

// finding is what became of a trial.
type finding struct {
	*judgement
	fault  fault
	lasted time.Duration
	notRun error  // why it was not
	unrest string // what a server still holds at the end
}

func (f finding) isViolated() bool {
	return f.notRun == nil && (f.violations() > 0 || f.unrest != "")
}

// try breaks something while two servers are under load, and judges what came of it.
func (t *theatre) try(ctx context.Context, f fault, o options) (_ finding, err error) {
	found := finding{fault: f}
	w, err := t.begin(ctx, f.name, o.seed, f.megabytes)
	if errors.Is(err, errNotRun) {
		found.notRun = err
		return found, nil
	}
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, w.end()) }()
	j, err := w.prepare(ctx, o, 30*time.Millisecond)
	if err != nil {
		return found, err
	}
	load, err := startLoad(ctx, j)
	if err != nil {
		return found, err
	}
	defer load.kill()
	judged := trial{Journal: j.Journal, Database: w.postgres.url(w.postgres.port), Devices: j.devices(), Models: j.answeredBy("model")}
	if err := pause(ctx, warmUp); err != nil {
		return found, err
	}
	judged.Began = time.Now()
	if err := f.strike(ctx, w, o.isShort); err != nil {
		if errors.Is(err, errNotRun) {
			found.notRun = err
			return found, nil
		}
		return found, err
	}
	judged.Ended = time.Now()
	found.lasted = judged.Ended.Sub(judged.Began)
	if judged.Seqs, err = w.seqs(ctx); err != nil {
		return found, err
	}
	if err := pause(ctx, afterwards); err != nil {
		return found, err
	}
	if err := w.rest(ctx, load); err != nil {
		return found, err
	}
	if err := until(ctx, restTime, "come to rest", func() error {
		return errors.Join(w.servers[0].atRest(ctx), w.servers[1].atRest(ctx))
	}); err != nil {
		found.unrest = err.Error()
	}
	verdict, err := harness.Ask[judgement](ctx, "judge", judged)
	if err != nil {
		return found, err
	}
	found.judgement = &verdict
	return found, w.checkLogs(&verdict)
}

// checkLogs looks for what a server should never have to say of itself.
func (w *world) checkLogs(j *judgement) error {
	paths, err := filepath.Glob(filepath.Join(w.dir, filepath.Base(w.program)+"-*.log"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		said, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(said)) {
			if strings.Contains(line, "panic: ") || strings.Contains(line, "fatal error: ") || strings.Contains(line, "DATA RACE") {
				j.count(&j.Wrong, "a server says: %.300s", line)
			}
		}
	}
	return nil
}

// rest has the load end: nothing new is said, all is answered, and the devices have come
// to where the conversations are.
func (w *world) rest(ctx context.Context, load *loading) error {
	if err := load.order(true); err != nil {
		return fmt.Errorf("have the load rest: %w", err)
	}
	_ = until(ctx, answerTime, "answer all", func() error { // what is not is told by who judges
		n, err := w.number(ctx, "SELECT count(*) FROM runs WHERE state IN ('queued', 'running')")
		if err == nil && n > 0 {
			err = fmt.Errorf("%d runs are not over", n)
		}
		return err
	})
	seqs, err := w.seqs(ctx)
	if err != nil {
		return err
	}
	if err := load.order(rest{seqs}); err != nil {
		return fmt.Errorf("have the devices catch up: %w", err)
	}
	return nil
}

// seqs is how far each conversation has come.
func (w *world) seqs(ctx context.Context) (map[string]int64, error) {
	seqs := map[string]int64{}
	if _, err := w.number(ctx, "SELECT 1"); err != nil { // connects again where it must
		return nil, err
	}
	rows, err := w.conn.Query(ctx, "SELECT id::text, last_seq FROM sessions")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var seq int64
		if err := rows.Scan(&id, &seq); err != nil {
			return nil, err
		}
		seqs[id] = seq
	}
	return seqs, rows.Err()
}

// prepare makes the bots and the conversations.
func (w *world) prepare(ctx context.Context, o options, pace time.Duration) (job, error) {
	j := job{
		Bases: [2]string{"http://" + address(w.servers[0].clients.port()), "http://" + address(w.servers[1].clients.port())},
		Key:   w.key, Seed: o.seed, Journal: filepath.Join(w.dir, "journal"), Devices: 3, Senders: 4, Pace: pace,
	}
	at := "http://" + address(w.servers[0].port)
	bots := []map[string]any{
		{"name": "scripted", "slug": "scripted", "engine": "scripted", "script": map[string]any{
			"rules": []any{map[string]any{"deltas": []string{"One ", "moment, ", "please. ", "Here ", "it ", "is."}, "delayMs": 60}},
		}},
		{"name": "model", "slug": "model", "engine": "openai", "model": map[string]any{"baseUrl": "http://" + address(w.toModel.port()) + "/v1", "name": "m"}},
	}
	for _, one := range bots {
		var made struct{ ID string }
		if err := harness.Call(ctx, http.MethodPost, at+"/api/chatbots/", w.key, one, &made); err != nil {
			return j, err
		}
	}
	for i := range 18 {
		bot := []string{"", "", "", "parley", "scripted", "model"}[i%6]
		var begun struct {
			ID string `json:"conversation_id"`
		}
		body := map[string]any{"bot_id": "parley"}
		if bot != "" {
			body["bot_id"] = bot
		}
		if err := harness.Call(ctx, http.MethodPost, at+"/api/conversations/start", w.key, body, &begun); err != nil {
			return j, err
		}
		if bot == "" {
			off := map[string]any{"autoReplyEnabled": false}
			if err := harness.Call(ctx, http.MethodPatch, at+"/api/conversations/"+begun.ID+"/", w.key, off, &struct{}{}); err != nil {
				return j, err
			}
		}
		j.Talks = append(j.Talks, talk{begun.ID, bot})
	}
	return j, nil
}

// devices are the names of those of each conversation.
func (j job) devices() map[string][]string {
	all := map[string][]string{}
	for i, one := range j.Talks {
		for n := range j.Devices {
			all[one.Conversation] = append(all[one.Conversation], fmt.Sprintf("%d-%d", i, n))
		}
	}
	return all
}

// answeredBy are the conversations that a bot answers.
func (j job) answeredBy(bot string) (conversations []string) {
	for _, one := range j.Talks {
		if one.Bot == bot {
			conversations = append(conversations, one.Conversation)
		}
	}
	return conversations
}

// loading is the process of the load.
type loading struct {
	cmd    *exec.Cmd
	in     io.WriteCloser
	orders *json.Encoder
	told   *json.Decoder
	said   *os.File
}

// startLoad returns when all devices are connected.
func startLoad(ctx context.Context, j job) (*loading, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	l := &loading{cmd: exec.CommandContext(ctx, self, "load")}
	if l.said, err = os.Create(j.Journal + ".log"); err != nil {
		return nil, err
	}
	l.cmd.Stderr = l.said
	if l.in, err = l.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	l.orders, l.told = json.NewEncoder(l.in), json.NewDecoder(out)
	if err := l.cmd.Start(); err != nil {
		return nil, err
	}
	if err := l.order(j); err != nil {
		l.kill()
		return nil, fmt.Errorf("start the load: %w", err)
	}
	return l, nil
}

// order tells it what to do next, and waits until that is done.
func (l *loading) order(what any) error {
	if err := l.orders.Encode(what); err != nil {
		return fmt.Errorf("%w: %s", err, l.words())
	}
	var isDone bool
	if err := l.told.Decode(&isDone); err != nil {
		return fmt.Errorf("%w: %s", err, l.words())
	}
	return nil
}

func (l *loading) words() string {
	said, _ := os.ReadFile(l.said.Name())
	return harness.LastOf(string(said))
}

// kill ends it, where it has not ended.
func (l *loading) kill() {
	_ = l.in.Close()
	_ = l.cmd.Process.Kill()
	_ = l.cmd.Wait()
	l.said.Close()
}
