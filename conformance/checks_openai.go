package conformance

import (
	"net/http"
	"slices"
)

func openAIChecks() []check {
	return []check{
		scripted("openai/completions", "OpenAI chat completions return the same text as JSON and as a stream that ends with [DONE].", checkOpenAICompletions),
		named("openai/errors", "Errors below /v1 have OpenAI's shape.", checkOpenAIErrors),
		named("openai/models", "Chatbots are listed as models.", checkModels),
	}
}

func checkOpenAICompletions(t *checker) {
	body := object{"model": t.bot, "messages": []object{{"role": "user", "content": askBrief}}}
	choices := t.user.post("/v1/chat/completions", body).json(http.StatusOK).list("choices")
	t.require(len(choices) == 1 && choices[0].obj("message").str("content") == briefText, "the choices are %v", choices)
	body["stream"] = true
	stream := t.user.stream(http.MethodPost, "/v1/chat/completions", body)
	text, isDone := "", false
	for e, ok := stream.next(); ok; e, ok = stream.next() {
		if isDone = e.data == nil; isDone {
			continue
		}
		for _, choice := range e.data.list("choices") {
			text += choice.obj("delta").str("content")
		}
	}
	t.require(text == briefText && isDone, "the stream has %q, ends with [DONE]: %v", text, isDone)
}

func checkOpenAIErrors(t *checker) {
	got := t.user.post("/v1/chat/completions", object{"model": "nothing", "messages": []object{{"role": "user", "content": "x"}}})
	got.expectStatus(http.StatusNotFound)
	t.require(got.object().obj("error").str("code") == "model_not_found", "the error for an unknown model is %s", got.excerpt())
	t.anonymous().get("/v1/models").expectStatus(http.StatusUnauthorized)
}

func checkModels(t *checker) {
	models := t.user.getJSON("/v1/models")
	t.require(models.str("object") == "list" && len(models.list("data")) > 0, "the models are %v", models)
	id := models.list("data")[0].str("id")
	t.require(t.user.getJSON("/v1/models/"+id).str("id") == id, "/v1/models/%s returns another model", id)
	t.require(!t.isScripted || slices.ContainsFunc(models.list("data"), func(model object) bool { return model.str("id") == t.slug }), "the run's chatbot is not a model")
}
