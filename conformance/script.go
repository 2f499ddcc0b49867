package conformance

import (
	"net/http"
	"strings"
	"time"
)

// What the run's bots are asked. A question may have more words; the first of these in it decides what is said.
const (
	askPaced    = "conformance paced"  // slowly, in many pieces
	askBrief    = "conformance brief"  // at once, with suggestions
	askLong     = "conformance long"   // for ten seconds
	askFailure  = "conformance fail"   // two pieces, then it fails
	askSilence  = "conformance silent" // one piece, then nothing for a minute
	askAnything = "conformance"        // in one piece
)

// How the paced reply comes.
const (
	pacedPieces = 8
	pacedPause  = 200 * time.Millisecond
)

var (
	pacedDeltas = numbered("piece", pacedPieces)
	briefDeltas = []string{"It is said at once. ", "第二段：繁體中文。", " 🙂 <b>&amp;</b> \"quoted\"\n", "=1+1"}
	longDeltas  = numbered("step", 50)
)

// script is what the run's bots say.
var script = object{"rules": []object{
	{"match": askPaced, "deltas": pacedDeltas, "delayMs": pacedPause.Milliseconds()},
	{"match": askBrief, "deltas": briefDeltas, "suggestions": []object{{"text": "And then?"}}},
	{"match": askLong, "deltas": longDeltas, "delayMs": 200},
	{"match": askFailure, "deltas": numbered("part", 4), "failAfter": 2},
	{"match": askSilence, "deltas": []string{"Wait for it."}, "silentAfter": 1},
	{"deltas": []string{"Noted."}},
}}

func numbered(word string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, word+" "+strings.Repeat("i", i+1)+" ")
	}
	return all
}

// start begins a conversation with the run's bot.
func (c caller) start() string {
	body := object{}
	if c.t.bot != "" {
		body["bot_id"] = c.t.bot
	}
	id := c.post("/api/conversations/start", body).gives(http.StatusCreated).str("conversation_id")
	c.t.began(id)
	return id
}

// began has a conversation deleted at the end. A bot of the run's own takes its conversations along.
func (t *trial) began(conversation string) {
	if !t.hasScript {
		t.made("the conversation "+conversation, "/api/conversations/"+conversation+"/")
	}
}

// quiet begins a conversation in which the bot does not speak by itself.
func (c caller) quiet() string {
	id := c.start()
	c.call(http.MethodPatch, "/api/conversations/"+id+"/", object{"autoReplyEnabled": false}).gives(http.StatusOK)
	return id
}

// say sends a message.
func (c caller) say(conversation, content string) object {
	return c.post("/api/conversations/"+conversation+"/messages", object{"content": content}).gives(http.StatusCreated)
}

// history reads a conversation's messages.
func (c caller) history(conversation, query string) (messages []object, hasMore bool) {
	page := c.get("/api/conversations/" + conversation + "/history" + query).gives(http.StatusOK)
	return page.list("messages"), page.is("has_more")
}

// completions is where the run's bot is asked.
func (t *trial) completions() string { return "/api/chatbots/" + t.bot + "/completions/" }

// question is the body of a completion.
func question(content, conversation string, isStreaming bool) object {
	return object{"message": object{"content": content}, "conversation": conversation, "isStreaming": isStreaming}
}

// contents are the contents of messages.
func contents(messages []object) []string {
	all := make([]string, len(messages))
	for i, one := range messages {
		all[i] = one.str("content")
	}
	return all
}
