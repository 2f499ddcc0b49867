package httpapi_test

import (
	"net/http"
	"testing"

	"parley/internal/auth"
)

// setFeedback sets a message's feedback and returns the message.
func (c caller) setFeedback(message string, feedback any) object {
	c.t.Helper()
	return c.call(http.MethodPut, "/api/messages/"+message+"/feedback/", object{"feedback": feedback}).wantStatus(http.StatusOK)
}

// Feedback is returned with the message in every response, and in the record of its exchange. The latest feedback
// applies, and null removes it.
func TestFeedbackIsReturnedWithTheMessageAndItsRecord(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat, auth.RecordsRead)
	first := alice.call(http.MethodPost, completions, object{"message": object{"content": question}}).wantStatus(http.StatusOK)
	id, conversation := text(first, "messageId"), text(first, "conversationId")
	alice.ask(conversation, "And another one")
	before := alice.get("/api/messages/" + id + "/")
	if before["feedback"] != nil {
		t.Errorf("initially %v", before)
	}
	for _, feedback := range []any{"like", "like", "dislike", nil, nil, "like"} {
		want := clone(before).(object)
		want["feedback"] = feedback
		if got := alice.setFeedback(id, feedback); !equalJSON(got, want) {
			t.Errorf("%v: returned %v, want %v", feedback, got, want)
		}
		if got := alice.get("/api/messages/" + id + "/"); !equalJSON(got, want) {
			t.Errorf("%v: stored %v", feedback, got)
		}
		for _, query := range []string{"", "?conversation=" + conversation} {
			for _, message := range objects(alice.get("/api/messages/"+query), "results") {
				if isMeant := message["id"] == id; isMeant && !equalJSON(message, want) || !isMeant && message["feedback"] != nil {
					t.Errorf("%v: the list has %v", feedback, message)
				}
			}
		}
		for _, record := range objects(alice.listRecords(""), "results") {
			if isMeant := record["id"] == first["runId"]; isMeant && record["feedback"] != feedback || !isMeant && record["feedback"] != nil {
				t.Errorf("%v: the record is %v", feedback, record)
			}
		}
		likes, dislikes := 0, 0
		switch feedback {
		case "like":
			likes = 1
		case "dislike":
			dislikes = 1
		}
		totals := alice.get(statisticsPath + withDays(""))["totals"].(object)
		if number(totals, "likes") != likes || number(totals, "dislikes") != dislikes || number(totals, "records") != 2 {
			t.Errorf("%v: the statistics have %v", feedback, totals)
		}
	}
	// Feedback changes neither the order of messages nor the unread counts.
	if sent := alice.ask(conversation, "Bye"); number(sent, "seq") != 5 {
		t.Errorf("%v", sent)
	}
	if rows := alice.exportRows(withDays("")); len(rows) != 4 {
		t.Errorf("the exported values are %v", rows)
	}
}

// Messages of users and agents can have feedback too. They have no record.
func TestFeedbackIsAcceptedForAnyMessage(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice, agent := o.as("alice", auth.Chat, auth.RecordsRead), o.as("agent", auth.Agent)
	id := alice.startConversation()
	asked := text(alice.ask(id, question), "message_id")
	reply := text(agent.post("/api/messages/", object{"conversation": id, "content": "I can help", "type": "outgoing"}), "id")
	for _, message := range []string{asked, reply} {
		if got := alice.setFeedback(message, "dislike"); got["feedback"] != "dislike" || got["id"] != message {
			t.Errorf("%v", got)
		}
	}
	if records := objects(alice.listRecords(""), "results"); len(records) != 1 || records[0]["feedback"] != nil {
		t.Errorf("the records are %v", records)
	}
}

// Invalid feedback is refused and changes nothing.
func TestInvalidFeedbackIsRejected(t *testing.T) {
	t.Parallel()
	alice := serve(t).organization().as("alice", auth.Chat)
	id := text(alice.call(http.MethodPost, completions, object{"message": object{"content": question}}).wantStatus(http.StatusOK), "messageId")
	alice.setFeedback(id, "like")
	path := "/api/messages/" + id + "/feedback/"
	for body, where := range map[string]string{
		`{}`: "/feedback", `{"feedback":"love"}`: "/feedback", `{"feedback":""}`: "/feedback", `{"feedback":"Like"}`: "/feedback",
		`{"feedback":true}`: "/feedback", `{"feedback":1}`: "/feedback", `{"feedback":["like"]}`: "/feedback", `{"feedback":{}}`: "/feedback",
		`{"feedback":"null"}`: "/feedback", `{"Feedback":"like"}`: "/feedback", `[]`: "", `null`: "", `{`: "", ``: "",
	} {
		alice.call(http.MethodPut, path, body).wantProblem(400, "invalid_request", where)
	}
	alice.call(http.MethodPut, path, `{"feedback":"like","more":[1]}`).wantStatus(http.StatusOK) // unknown fields are ignored
	if got := alice.get("/api/messages/" + id + "/"); got["feedback"] != "like" {
		t.Errorf("%v", got)
	}
}

// Callers who may read a message may rate it: its user and the staff.
func TestFeedbackRequiresReadAccessToTheMessage(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o, other := s.organization(), s.organization()
	alice := o.as("alice", auth.Chat)
	id := text(alice.call(http.MethodPost, completions, object{"message": object{"content": question}}).wantStatus(http.StatusOK), "messageId")
	path := "/api/messages/" + id + "/feedback/"
	o.as("bob", auth.Chat).call(http.MethodPut, path, object{"feedback": "like"}).wantProblem(403, "forbidden", "")
	o.as("clerk", auth.RecordsRead, auth.RecordsWrite, auth.Manage).call(http.MethodPut, path, object{"feedback": "like"}).wantProblem(403, "forbidden", "")
	other.as("admin", auth.Admin).call(http.MethodPut, path, object{"feedback": "like"}).wantProblem(404, "not_found", "")
	alice.call(http.MethodPut, "/api/messages/x/feedback/", object{"feedback": "like"}).wantProblem(404, "not_found", "")
	if got := alice.get("/api/messages/" + id + "/"); got["feedback"] != nil {
		t.Errorf("%v", got)
	}
	if got := o.as("agent", auth.Agent).setFeedback(id, "dislike"); got["feedback"] != "dislike" {
		t.Errorf("%v", got)
	}
}

// After concurrent feedback, the message and its record have the same value.
func TestConcurrentFeedbackKeepsMessageAndRecordConsistent(t *testing.T) {
	t.Parallel()
	o := serve(t).organization()
	alice := o.as("alice", auth.Chat, auth.RecordsRead)
	got := alice.call(http.MethodPost, completions, object{"message": object{"content": question}}).wantStatus(http.StatusOK)
	failed := make(chan error, 40)
	for i := range cap(failed) {
		go func() {
			_, err := alice.tryCall(http.MethodPut, "/api/messages/"+text(got, "messageId")+"/feedback/", object{"feedback": []any{"like", "dislike", nil}[i%3]}, withHeader("Authorization", "Api-Key "+alice.key))
			failed <- err
		}()
	}
	for range cap(failed) {
		if err := <-failed; err != nil {
			t.Fatal(err)
		}
	}
	message, records := alice.get("/api/messages/"+text(got, "messageId")+"/"), objects(alice.listRecords(""), "results")
	if len(records) != 1 || records[0]["feedback"] != message["feedback"] {
		t.Errorf("the message has %v, the record %v", message["feedback"], records)
	}
}
