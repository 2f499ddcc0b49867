package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// battlefield is an organization that requests are made up for.
type battlefield struct {
	*hostility
	organization organization
	keys         map[string]caller
	tokens       map[string]string // client tokens by what they are for
	own          things
}

// plan is how a request is made up: a good one, and what is then done to it. The same plan makes the same request.
type plan struct {
	op    operation
	base  func() *attempt
	steps []step
}

// step is something that is done to a request.
type step struct {
	name string
	seed uint64
	do   func(r *rand.Rand, a *attempt)
}

// attempt makes the request.
func (p plan) attempt() *attempt {
	a := p.base()
	for _, step := range p.steps {
		step.do(rand.New(rand.NewPCG(step.seed, 0)), a)
	}
	for harmful, harmless := range unwanted {
		a.body = bytes.ReplaceAll(a.body, []byte(harmful), []byte(harmless))
	}
	return a
}

// unwanted is what a request must not say, since another one would then wait for it: bots that take their time, and models
// that are nowhere.
var unwanted = map[string]string{`"openai"`: `"faq"`, "delayMs": "delay", "silentAfter": "silentBefore"}

// String returns how to send the request by hand.
func (p plan) String() string {
	names := make([]string, len(p.steps))
	for i, step := range p.steps {
		names[i] = step.name
	}
	sent := p.attempt().bytes()
	note := ""
	if len(sent) > 4000 {
		note = fmt.Sprintf(" (the first 4000 of %d bytes)", len(sent))
		sent = sent[:4000]
	}
	return fmt.Sprintf("%s, with %s: the request%s, for printf %%b and nc:\n%q", p.op.id, strings.Join(names, ", "), note, sent)
}

// plan makes a plan up: one in five is for a good request, the others have up to four things done to them.
func (f *battlefield) plan(r *rand.Rand) plan {
	op := operations[r.IntN(len(operations))]
	own := f.own
	who := f.credentials(r)
	p := plan{op: op, base: func() *attempt { return f.good(op, own, who) }}
	if r.IntN(5) == 0 {
		return p
	}
	for range 1 + r.IntN(4) {
		all := hostilities
		if op.jsonBody() != nil && r.IntN(2) == 0 {
			all = bodyHostilities
		}
		chosen := all[r.IntN(len(all))]
		p.steps = append(p.steps, step{chosen.name, r.Uint64(), chosen.make(f)})
	}
	return p
}

// credentials are an Authorization header: mostly one that opens all.
func (f *battlefield) credentials(r *rand.Rand) string {
	switch r.IntN(12) {
	case 0:
		return ""
	case 1:
		return "Bearer " + f.keys["chat"].key
	case 2:
		return "Api-Key " + f.keys["agent"].key
	case 3:
		return "Bearer " + f.tokens[[]string{"conversation", "contact", "chatbot"}[r.IntN(3)]]
	}
	return "Api-Key " + f.keys["admin"].key
}

// good is a request of an operation that has nothing wrong.
func (f *battlefield) good(op operation, own things, who string) *attempt {
	a := &attempt{op: op, method: op.method, target: op.target(own, ""), proto: "HTTP/1.1", headers: [][2]string{{"Host", "parley.example"}}}
	if who != "" {
		a.set("Authorization", who)
	}
	switch body := op.bodyOf(own); {
	case op.isUpload():
		form, _ := upload("file", "faqs.csv", []byte("question,answer\nWhere?,Here.\n"))
		a.body = form.Bytes()
		boundary, _, _ := bytes.Cut(a.body, []byte("\r\n"))
		a.set("Content-Type", "multipart/form-data; boundary="+string(boundary[2:]))
	case body != nil:
		a.body = must(json.Marshal(body))
		a.set("Content-Type", "application/json")
	}
	if op.id == "connect" {
		a.headers = append(a.headers, [][2]string{
			{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
		}...)
	}
	return a
}
