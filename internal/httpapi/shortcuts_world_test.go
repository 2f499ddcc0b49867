package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/google/uuid"

	"parley/internal/auth"
)

// hostile are texts that some way of writing, searching or sorting could get wrong.
var hostile = []string{
	"plain words", "請問如何申請退款？", "退款 refund 退款", "REFUND Refund rEFUND", "100% of_all \\ back\\slash", "'quoted' \"double\" `tick`",
	"<script>alert('&amp;')</script>", "tab\tand\nnew\r\nline", "\u0001\u0007\u001b\u007f\u0080", "🙂👨‍👩‍👧‍👦🏳️‍🌈", "e\u0301 é ﬁ İi ſ ẞ", "\u2028 and \u2029",
	"\u202eright to left\u202c שלום", "=1+1", "+cmd|' /C calc'!A0", " leads and trails ", "null", "{\"json\":true}", "\ufeffmark", "\ufffd", "𠮷野家 𝒜",
	"zero\u200bwidth", "a", "款", "0123456789", "_x000D_ &#0; ]]>",
}

// metadata are objects as clients write them, white space and all.
var metadata = []string{
	`{}`, `{ }`, "{\n\t\"a\" :\r\n 1 }", `{"b":2,"a":1,"b":3}`, `{"n":1.50,"e":1E2,"big":123456789012345678901234567890,"tiny":1e-999,"z":-0}`,
	`{"u":"\u00e9\u9000\ud83d\ude42","s":"\/","html":"<&>"}`, `{"":"","deep":[[[{"x":[ null , true,false ]}]]]}`, `{"long":"` + string(make10k()) + `"}`,
}

func make10k() []byte {
	long := make([]byte, 10_000)
	for i := range long {
		long[i] = 'a' + byte(i%26)
	}
	return long
}

// hostileWorld is what the comparisons read: who may ask, and what they may ask for.
type hostileWorld struct {
	organization
	callers []caller
	things  []things // of alice's, of others, of nobody
	times   []string // of messages
	queries map[string][]string
}

// raw is the JSON of a text.
func raw(text string) string { return string(must(json.Marshal(text))) }

// hostileWorld fills a database with all that the operations make: conversations long, archived, empty, deleted and of
// others, messages with odd texts and senders that are gone, answers that were liked, and records with scores.
func (s *server) hostileWorld() hostileWorld {
	s.t.Helper()
	w := hostileWorld{organization: s.organization()}
	alice, bob := w.as("alice", auth.Chat, auth.RecordsRead), w.as("bob", auth.Chat)
	agent, admin := w.as("Sam <staff>", auth.Agent), w.as("admin", auth.Admin)
	stranger := s.organization().as("alice", auth.Admin)

	long := alice.start()
	alice.patch("/api/conversations/"+long+"/", object{"autoReplyEnabled": false})
	for i, content := range hostile {
		alice.post("/api/conversations/"+long+"/messages", fmt.Sprintf(`{"content":%s,"metadata":%s}`, raw(content), metadata[i%len(metadata)]))
		kind := "incoming"
		speaker := alice
		if i%3 == 0 {
			kind, speaker = "outgoing", agent
		}
		speaker.post("/api/messages/", fmt.Sprintf(`{"conversation":%q,"type":%q,"content":%s,"contentPayload":%s,"queryMetadata":{"%d": [ ] },`+
			`"canvas":{"name":"草稿","canvasType":"other","title":%s,"content":"x"},"attachments":[{"file":"https://files.example.com/%d.png","filename":%s,"type":"image"}]}`,
			long, kind, raw(content), metadata[(i+3)%len(metadata)], i, raw(content), i, raw(content)))
	}
	gone := text(admin.post("/api/contacts/", object{"name": "Gone"}), "id")
	s.exec("UPDATE message_history SET sender_id = $1 WHERE session_id = $2 AND seq % 7 = 0", gone, long)
	admin.remove("/api/contacts/" + gone + "/")

	var runs []string
	answered := alice.start()
	for i, asked := range []string{question, "請問如何申請退款？", "=1+1", "Where is the invoice?"} {
		runs = append(runs, text(alice.ask(answered, asked), "run_id"))
		if i%2 == 0 {
			reply := text(alice.get("/api/runs/"+runs[i]+"/"), "messageId")
			alice.call(http.MethodPut, "/api/messages/"+reply+"/feedback/", object{"feedback": []string{"like", "", "dislike"}[i]}).gives(http.StatusOK)
		}
	}
	w.more(alice, bob, agent, admin)
	s.exec(`INSERT INTO records SELECT (json_populate_record(r, json_build_object('id', gen_random_uuid(), 'created_at', r.created_at - n * interval '7 hours',
		'asked_at', r.asked_at - n * interval '7 hours', 'faithfulness_score', nullif(n % 5, 0) / 3.0, 'context_recall_score', 1e-7 * n, 'answer_relevancy_score', n * 0.125,
		'status', (ARRAY['completed', 'failed', 'cancelled'])[1 + n % 3], 'error', CASE n % 3 WHEN 1 THEN 'It <failed>.' END, 'reply_time', n / 7.0,
		'output_message', r.output_message || ' ' || n, 'feedback', (ARRAY['like', 'dislike', NULL])[1 + n % 3]))).* FROM records r, generate_series(1, 12) n`)
	for i, content := range hostile {
		s.exec("UPDATE records SET input_message = $1, context = $1 WHERE id = (SELECT id FROM records ORDER BY id OFFSET $2 LIMIT 1)", content, i)
	}
	w.finish(alice, bob, agent, admin, stranger, long, answered, runs)
	return w
}

// more makes conversations of every state, and contacts and bots with odd names.
func (w *hostileWorld) more(alice, bob, agent, admin caller) {
	for i, content := range hostile {
		id := text(alice.post("/api/conversations/start", object{}), "conversation_id")
		alice.patch("/api/conversations/"+id+"/", object{"autoReplyEnabled": false, "title": content})
		alice.say(id, content+" last")
		switch i % 5 {
		case 0:
			alice.patch("/api/conversations/"+id+"/", object{"status": "archived"})
		case 1:
			alice.remove("/api/conversations/" + id + "/")
		case 2:
			agent.post("/api/messages/", object{"conversation": id, "type": "outgoing", "content": content})
		}
		if i%6 == 0 {
			admin.post("/api/contacts/", object{"name": content, "sourceId": fmt.Sprint("s", i)})
			admin.post("/api/chatbots/", object{"name": content, "greeting": content})
			admin.post("/api/chatbots/parley/faqs/", object{"question": "Question: " + content, "answer": "Answer: " + content, "labels": []string{content}})
		}
	}
	for range 3 {
		bob.start()
	}
	w.exec("UPDATE sessions SET last_activity = (SELECT max(last_activity) FROM sessions), created_at = (SELECT min(created_at) FROM sessions) WHERE id IN (SELECT id FROM sessions ORDER BY id LIMIT 4)")
}

// finish notes whom and what there is.
func (w *hostileWorld) finish(alice, bob, agent, admin, stranger caller, long, answered string, runs []string) {
	token := text(alice.post("/api/client-tokens/", object{"conversation": long}), "token")
	w.callers = []caller{
		alice, agent, admin, bob, stranger,
		{organization: w.organization, user: "a page", key: token},
		{organization: w.organization, user: "nobody", key: "none.0123456789abcdef"},
	}
	mine, others := alice.one(), bob.one()
	mine["conversations"], mine["chatbots"] = long, w.bot.ID.String()
	answeredOnes := things{}
	for kind, id := range mine {
		answeredOnes[kind] = id
	}
	answeredOnes["conversations"], answeredOnes["runs"], answeredOnes["chatbots"] = answered, runs[0], "parley"
	w.things = []things{mine, answeredOnes, others, nothing()}
	var seqs []string
	for i, message := range objects(agent.get("/api/conversations/"+long+"/history?limit=100"), "messages") {
		if i%9 == 0 {
			w.times, seqs = append(w.times, text(message, "timestamp")), append(seqs, fmt.Sprint(message["seq"]))
		}
	}
	words := []string{"退款", "款", "refund", "REFUND", "100%", "_", `\`, "'", "last", "🙂", "é", "&", " ", "=1", "no such text", uuid.NewString()}
	times := append([]string{"2020-01-01T00:00:00Z", "2099-01-01T00:00:00+08:00", "yesterday"}, w.times...)
	days := []string{days["startDate"], days["endDate"], "2020-01-01", "2026-02-30", w.times[0][:10]}
	w.queries = map[string][]string{
		"limit": {"1", "2", "7", "100", "0", "101", "x"}, "pageSize": {"1", "2", "7", "100", "0"}, "page": {"1", "2", "3", "1000000", "0"}, "offset": {"0", "1", "5", "30", "1000000", "-1"},
		"before": times, "after": times, "before_seq": append(seqs, "0", "1", "9007199254740993"), "after_seq": append(seqs, "0", "1", "-1"),
		"keyword": words, "query": words, "userMessage": words, "botMessage": words, "cursor": {"none", "bi4x"},
		"status": {"active", "archived", "completed", "failed", "cancelled", "gone"}, "feedback": {"like", "dislike", "none", "?"}, "type": {"New", "Follow", "old"},
		"format": {"csv", "jsonl", "xml"}, "ordering": {"lastActivity", "createdAt", "name"}, "locale": {"en", "zh-TW", "fr"},
		"timezone": {"Asia/Taipei", "America/St_Johns", "Nowhere"}, "startDate": days, "endDate": days,
		"ticket": {"wst_none"}, "stream": {"true", "maybe"}, "action": {"conversation.deleted", "records.exported", "apiKey.created", "gone"},
	}
	for name, kind := range kinds {
		for _, one := range w.things {
			w.queries[name] = append(w.queries[name], one[kind])
		}
	}
}
