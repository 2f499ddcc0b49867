package conformance

import (
	"net/http"
	"slices"
)

func openAIChecks() []check {
	return []check{
		{name: "openai/completions", holds: "OpenAI's chat completions are answered, as JSON and as a stream that ends with [DONE], the same.", ask: openAIIsSpoken},
		{name: "openai/errors", holds: "Below /v1 failures are OpenAI's errors.", ask: openAIErrorsAreTold},
		{name: "openai/models", holds: "The chatbots are listed as models.", ask: modelsAreListed},
	}
}

func openAIIsSpoken(t *trial) {
	t.scripted()
	user := t.user()
	body := object{"model": t.bot, "messages": []object{{"role": "user", "content": askBrief}}}
	choices := user.post("/v1/chat/completions", body).gives(http.StatusOK).list("choices")
	t.must(len(choices) == 1 && choices[0].obj("message").str("content") == joined(briefDeltas), "the choices are %v", choices)
	body["stream"] = true
	stream := user.stream(http.MethodPost, "/v1/chat/completions", body)
	text, isDone := "", false
	for one, ok := stream.next(); ok; one, ok = stream.next() {
		if isDone = one.data == nil; isDone {
			continue
		}
		for _, choice := range one.data.list("choices") {
			text += choice.obj("delta").str("content")
		}
	}
	t.must(text == joined(briefDeltas) && isDone, "the stream says %q, and ends with [DONE]: %v", text, isDone)
}

func openAIErrorsAreTold(t *trial) {
	got := t.user().post("/v1/chat/completions", object{"model": "nothing", "messages": []object{{"role": "user", "content": "x"}}})
	got.has(http.StatusNotFound)
	t.must(got.json().obj("error").str("code") == "model_not_found", "an unknown model is told as %s", got.excerpt())
	t.nobody().get("/v1/models").has(http.StatusUnauthorized)
}

func modelsAreListed(t *trial) {
	models := t.user().get("/v1/models").gives(http.StatusOK)
	t.must(models.str("object") == "list" && len(models.list("data")) > 0, "the models are %v", models)
	one := models.list("data")[0].str("id")
	t.must(t.user().get("/v1/models/"+one).gives(http.StatusOK).str("id") == one, "the model %s is another one alone", one)
	t.must(!t.hasScript || slices.ContainsFunc(models.list("data"), func(one object) bool { return one.str("id") == t.slug }), "the run's own chatbot is no model")
}
