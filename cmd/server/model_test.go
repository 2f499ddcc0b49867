package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

type model struct {
	BaseURL, Name string
	Temperature   *float64
	HasAPIKey     bool
}

type chatbot struct {
	Engine, UpdatedAt string
	Model             *model
}

func (c client) defaultBot() (found chatbot) {
	c.t.Helper()
	c.call("GET", "/api/chatbots/parley/", nil, http.StatusOK, &found)
	return found
}

func TestDefaultChatbotUsesConfiguredModel(t *testing.T) {
	t.Parallel()
	const apiKey = "sk-hushhushhushhush"
	authorizations := make(chan string, 4)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorizations <- r.Header.Get("Authorization")
		_, _ = io.WriteString(w, `{"choices":[{"message":{"content":"Good day"},"finish_reason":"stop"}]}`)
	}))
	defer upstream.Close()
	dir := newDir(t)
	named := []string{"OPENAI_BASE_URL=" + upstream.URL, "OPENAI_MODEL=small", "OPENAI_API_KEY=" + apiKey}

	// given: a first start with a model, which then answers for the default chatbot
	first := serving(t, dir, named...)
	first.secrets = append(first.secrets, apiKey)
	api := first.client(first.key)
	var answer struct{ Content string }
	api.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "Hello?"}}, http.StatusOK, &answer)
	if got := <-authorizations; answer.Content != "Good day" || got != "Bearer "+apiKey {
		t.Errorf("reply %q, Authorization %q", answer.Content, got)
	}
	warmer := object{"model": object{"baseUrl": upstream.URL, "name": "small", "temperature": 1.5}}
	api.call("PATCH", "/api/chatbots/parley/", warmer, http.StatusOK, nil)
	before := api.defaultBot()
	first.stop()

	// when: the server restarts with the same model, nothing is updated
	second := serving(t, dir, named...)
	second.secrets = append(second.secrets, apiKey)
	if after := second.client(first.key).defaultBot(); after.UpdatedAt != before.UpdatedAt || !after.Model.HasAPIKey {
		t.Errorf("before %+v, after %+v", before, after)
	}
	second.stop()

	// when: another model without an API key is configured, the old key is removed and other settings stay
	third := serving(t, dir, "OPENAI_BASE_URL="+upstream.URL, "OPENAI_MODEL=large")
	api = third.client(first.key)
	after := api.defaultBot()
	if after.Model.Name != "large" || after.Model.HasAPIKey || after.Model.Temperature == nil || *after.Model.Temperature != 1.5 {
		t.Errorf("the chatbot is %+v", after.Model)
	}
	api.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "Hello?"}}, http.StatusOK, nil)
	if got := <-authorizations; got != "" {
		t.Errorf("Authorization %q, want none", got)
	}
	third.stop()

	// when: no model is configured, the chatbot keeps its model
	fourth := serving(t, dir)
	if after := fourth.client(first.key).defaultBot(); after.Engine != "openai" || after.Model.Name != "large" {
		t.Errorf("the chatbot is %+v", after)
	}
	fourth.stop()
}

func TestModelVariablesAreValidated(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		environment environment
		want        modelConfig
		says        string
	}{
		"no model": {environment{}, modelConfig{}, ""},
		"OpenAI model": {
			environment{"OPENAI_MODEL": "small", "OPENAI_API_KEY": "sk-1"},
			modelConfig{Name: "small", BaseURL: "https://api.openai.com/v1", APIKey: "sk-1"},
			"",
		},
		"other server": {
			environment{"OPENAI_MODEL": "small", "OPENAI_BASE_URL": "http://localhost:11434/v1"},
			modelConfig{Name: "small", BaseURL: "http://localhost:11434/v1"},
			"",
		},
		"key without model":      {environment{"OPENAI_API_KEY": "hush"}, modelConfig{}, "OPENAI_MODEL: must be set if OPENAI_BASE_URL or OPENAI_API_KEY is set"},
		"base URL without model": {environment{"OPENAI_BASE_URL": "http://localhost/v1"}, modelConfig{}, "OPENAI_MODEL: must be set if OPENAI_BASE_URL or OPENAI_API_KEY is set"},
		"invalid base URL":       {environment{"OPENAI_MODEL": "small", "OPENAI_BASE_URL": "hush"}, modelConfig{}, "OPENAI_BASE_URL: must be an http or https URL"},
		"base URL with password": {environment{"OPENAI_MODEL": "small", "OPENAI_BASE_URL": "http://u:hush@h/"}, modelConfig{}, "OPENAI_BASE_URL: must not contain a user or a password"},
		"key with line break":    {environment{"OPENAI_MODEL": "small", "OPENAI_API_KEY": "hush\nhush"}, modelConfig{}, "OPENAI_API_KEY: must have visible ASCII characters only"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := loadConfig(c.environment, true, "")
			switch {
			case c.says == "" && (err != nil || got.Model != c.want):
				t.Errorf("got %+v, %v", got.Model, err)
			case c.says != "" && (err == nil || err.Error() != c.says):
				t.Errorf("got %v", err)
			}
		})
	}
}
