package conformance

import (
	"net/http"
	"strings"
	"time"
)

// Questions for the run's scripted chatbot. The first one that is contained in a message selects the reply.
const (
	askPaced    = "conformance paced"  // slowly, in many deltas
	askBrief    = "conformance brief"  // immediately, with suggestions
	askLong     = "conformance long"   // for ten seconds
	askFailure  = "conformance fail"   // two deltas, then an error
	askSilence  = "conformance silent" // one delta, then nothing for a minute
	askAnything = "conformance"        // in one delta
)

// Timing of the paced reply.
const (
	pacedPieces   = 8
	pacedInterval = 200 * time.Millisecond
)

var (
	pacedDeltas = numbered("piece", pacedPieces)
	briefDeltas = []string{"It is said at once. ", "第二段：繁體中文。", " 🙂 <b>&amp;</b> \"quoted\"\n", "=1+1"}
	longDeltas  = numbered("step", 50)

	pacedText = strings.Join(pacedDeltas, "")
	briefText = strings.Join(briefDeltas, "")
	longText  = strings.Join(longDeltas, "")
)

// plainText is the reply to all other questions.
const plainText = "Noted."

// script is the script of the chatbots that the run creates.
var script = object{"rules": []object{
	{"match": askPaced, "deltas": pacedDeltas, "delayMs": pacedInterval.Milliseconds()},
	{"match": askBrief, "deltas": briefDeltas, "suggestions": []object{{"text": "And then?"}}},
	{"match": askLong, "deltas": longDeltas, "delayMs": 200},
	{"match": askFailure, "deltas": numbered("part", 4), "failAfter": 2},
	{"match": askSilence, "deltas": []string{"Wait for it."}, "silentAfter": 1},
	{"deltas": []string{plainText}},
}}

func numbered(word string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, word+" "+strings.Repeat("i", i+1)+" ")
	}
	return all
}

// start starts a conversation with the run's chatbot and returns its ID.
func (c client) start() string {
	body := object{}
	if c.t.bot != "" {
		body["bot_id"] = c.t.bot
	}
	id := c.create("/api/conversations/start", body).str("conversation_id")
	c.t.deleteConversationLater(id)
	return id
}

// deleteConversationLater deletes a conversation at the end of the run. Deleting a chatbot of the
// run deletes its conversations too.
func (t *checker) deleteConversationLater(id string) {
	if !t.isScripted {
		t.deleteLater("the conversation "+id, "/api/conversations/"+id+"/")
	}
}

// startWithoutBot starts a conversation in which the chatbot does not reply.
func (c client) startWithoutBot() string {
	id := c.start()
	c.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false}).json(http.StatusOK)
	return id
}

// send sends a message and returns the acknowledgement.
func (c client) send(conversation, content string) object {
	return c.create("/api/conversations/"+conversation+"/messages", object{"content": content})
}

// history returns a page of a conversation's messages.
func (c client) history(conversation, query string) (messages []object, hasMore bool) {
	page := c.getJSON("/api/conversations/" + conversation + "/history" + query)
	return page.list("messages"), page.bool("has_more")
}

// messages returns a conversation's messages.
func (c client) messages(conversation string) []object {
	messages, _ := c.history(conversation, "")
	return messages
}

// expectReply fails the check unless the conversation has a question and this reply, and returns the
// reply's message.
func (c client) expectReply(conversation, content string) object {
	messages := c.messages(conversation)
	c.t.require(len(messages) == 2 && messages[1].str("content") == content, "the reply %q is stored as %q", content, contents(messages))
	return messages[1]
}

// completionsPath is the path of the run's chatbot for completions.
func (t *checker) completionsPath() string { return "/api/chatbots/" + t.bot + "/completions/" }

// question returns the body of a completion request. An empty conversation starts a new one.
func question(content, conversation string, isStreaming bool) object {
	return object{"message": object{"content": content}, "conversation": conversation, "isStreaming": isStreaming}
}

// contents returns the contents of messages.
func contents(messages []object) []string {
	all := make([]string, len(messages))
	for i, message := range messages {
		all[i] = message.str("content")
	}
	return all
}
