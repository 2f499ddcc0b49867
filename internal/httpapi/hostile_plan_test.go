package httpapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
)

// requestGenerator is an organization whose resources the generated requests use.
type requestGenerator struct {
	*hostileTest
	organization organization
	keys         map[string]caller
	tokens       map[string]string // client tokens by the kind of their target
	own          resourceIDs
}

// plan describes how a request is generated: a valid request and the mutations of it. Equal plans generate equal
// requests.
type plan struct {
	op    operation
	base  func() *rawRequest
	steps []step
}

// step is a mutation of a request.
type step struct {
	name string
	seed uint64
	do   func(r *rand.Rand, a *rawRequest)
}

// build generates the request.
func (p plan) build() *rawRequest {
	a := p.base()
	for _, step := range p.steps {
		step.do(rand.New(rand.NewPCG(step.seed, 0)), a)
	}
	for harmful, harmless := range harmlessReplacements {
		a.body = bytes.ReplaceAll(a.body, []byte(harmful), []byte(harmless))
	}
	return a
}

// harmlessReplacements are parts of a body that would delay later requests: slow scripts, and models on servers that do not
// exist. Each is replaced by a harmless value.
var harmlessReplacements = map[string]string{`"openai"`: `"faq"`, "delayMs": "delay", "silentAfter": "silentBefore"}

// String returns how to send the request by hand.
func (p plan) String() string {
	names := make([]string, len(p.steps))
	for i, step := range p.steps {
		names[i] = step.name
	}
	sent := p.build().encode()
	note := ""
	if len(sent) > 4000 {
		note = fmt.Sprintf(" (the first 4000 of %d bytes)", len(sent))
		sent = sent[:4000]
	}
	return fmt.Sprintf("%s, with %s: the request%s, for printf %%b and nc:\n%q", p.op.id, strings.Join(names, ", "), note, sent)
}

// newPlan generates a plan. One in five is a valid request, the others have up to four mutations.
func (g *requestGenerator) newPlan(r *rand.Rand) plan {
	op := operations[r.IntN(len(operations))]
	own := g.own
	authorization := g.randomCredentials(r)
	p := plan{op: op, base: func() *rawRequest { return g.validRequest(op, own, authorization) }}
	if r.IntN(5) == 0 {
		return p
	}
	for range 1 + r.IntN(4) {
		all := mutations
		if op.jsonBody() != nil && r.IntN(2) == 0 {
			all = bodyMutations
		}
		chosen := all[r.IntN(len(all))]
		p.steps = append(p.steps, step{chosen.name, r.Uint64(), chosen.make(g)})
	}
	return p
}

// randomCredentials returns a random Authorization header, mostly that of an admin.
func (g *requestGenerator) randomCredentials(r *rand.Rand) string {
	switch r.IntN(12) {
	case 0:
		return ""
	case 1:
		return "Bearer " + g.keys["chat"].key
	case 2:
		return "Api-Key " + g.keys["agent"].key
	case 3:
		return "Bearer " + g.tokens[[]string{"conversation", "contact", "chatbot"}[r.IntN(3)]]
	}
	return "Api-Key " + g.keys["admin"].key
}

// validRequest returns a valid request of an operation.
func (g *requestGenerator) validRequest(op operation, own resourceIDs, authorization string) *rawRequest {
	a := &rawRequest{op: op, method: op.method, target: op.target(own, ""), proto: "HTTP/1.1", headers: [][2]string{{"Host", "parley.example"}}}
	if authorization != "" {
		a.setHeader("Authorization", authorization)
	}
	switch body := op.minimalBody(own); {
	case op.isUpload():
		form, _ := upload("file", "faqs.csv", []byte("question,answer\nWhere?,Here.\n"))
		a.body = form.Bytes()
		boundary, _, _ := bytes.Cut(a.body, []byte("\r\n"))
		a.setHeader("Content-Type", "multipart/form-data; boundary="+string(boundary[2:]))
	case body != nil:
		a.body = must(json.Marshal(body))
		a.setHeader("Content-Type", "application/json")
	}
	if op.id == "connect" {
		a.headers = append(a.headers, [][2]string{
			{"Connection", "Upgrade"}, {"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
		}...)
	}
	return a
}
