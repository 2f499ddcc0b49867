package chat_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"parley/internal/bot"
	"parley/internal/chat"
)

// A model is told what was said before in a visit, of which nothing is in the database.
func TestAModelIsToldOfTheVisit(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 2)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Messages json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Error(err)
		}
		asked <- string(body.Messages)
		fmt.Fprint(w, `{"choices":[{"message":{"content":"Good day"},"finish_reason":"stop"}]}`)
	}))
	defer upstream.Close()
	h := newHouse(t)
	if err := h.bots.UseModel(t.Context(), h.bot, upstream.URL, "small", ""); err != nil {
		t.Fatal(err)
	}
	watch := visit(t, h.Chat)
	for i, question := range []string{"One?", "Two?"} {
		if _, err := watch.Send(t.Context(), chat.NewMessage{Content: question}); err != nil {
			t.Fatal(err)
		}
		heard(t, watch, int64(2*i+2))
	}
	for _, want := range []string{
		`[{"role":"user","content":"One?"}]`,
		`[{"role":"user","content":"One?"},{"role":"assistant","content":"Good day"},{"role":"user","content":"Two?"}]`,
	} {
		if got := <-asked; got != want {
			t.Errorf("it was asked %s", got)
		}
	}
}

// The FAQs' engine is asked without a look at the conversation.
func TestOnlyModelsAreToldOfTheConversation(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	if h.bots.UsesHistory(h.bot) {
		t.Error("the FAQs' engine wants it")
	}
	h.bot.Engine = bot.EngineOpenAI
	if !h.bots.UsesHistory(h.bot) {
		t.Error("a model does not")
	}
}
