package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// battlefield is an organization whose resources the generated requests use.
type battlefield struct {
	*hostility
	organization organization
	keys         map[string]caller
	tokens       map[string]string // client tokens by the kind of their target
	own          things
}

// plan describes how a request is generated: a valid request and the mutations of it. Equal plans generate equal
// requests.
type plan struct {
	op    operation
	base  func() *attempt
	steps []step
}

// step is a mutation of a request.
type step struct {
	name string
	seed uint64
	do   func(r *rand.Rand, a *attempt)
}

// attempt generates the request.
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

// unwanted are parts of a body that would delay later requests: slow scripts, and models on servers that do not
// exist. Each is replaced by a harmless value.
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

// plan generates a plan. One in five is a valid request, the others have up to four mutations.
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

// credentials returns a random Authorization header, mostly that of an admin.
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

// good returns a valid request of an operation.
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
