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

func TestTheDefaultBotIsGivenTheModelOfTheEnvironment(t *testing.T) {
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

	// given a first start with a model, the default bot is answered by it
	first := serving(t, dir, named...)
	first.secrets = append(first.secrets, apiKey)
	asked := first.client(first.key)
	var answer struct{ Content string }
	asked.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "Hello?"}}, http.StatusOK, &answer)
	if got := <-authorizations; answer.Content != "Good day" || got != "Bearer "+apiKey {
		t.Errorf("it says %q, asked with %q", answer.Content, got)
	}
	warmer := object{"model": object{"baseUrl": upstream.URL, "name": "small", "temperature": 1.5}}
	asked.call("PATCH", "/api/chatbots/parley/", warmer, http.StatusOK, nil)
	before := asked.defaultBot()
	first.stop()

	// when it starts again with the same, nothing is written
	second := serving(t, dir, named...)
	second.secrets = append(second.secrets, apiKey)
	if after := second.client(first.key).defaultBot(); after.UpdatedAt != before.UpdatedAt || !after.Model.HasAPIKey {
		t.Errorf("it was %+v and is %+v", before, after)
	}
	second.stop()

	// when another model is named, that one answers, without the key that was not named, and the rest stays
	third := serving(t, dir, "OPENAI_BASE_URL="+upstream.URL, "OPENAI_MODEL=large")
	asked = third.client(first.key)
	after := asked.defaultBot()
	if after.Model.Name != "large" || after.Model.HasAPIKey || after.Model.Temperature == nil || *after.Model.Temperature != 1.5 {
		t.Errorf("it is %+v", after.Model)
	}
	asked.call("POST", "/api/chatbots/parley/completions/", object{"message": object{"content": "Hello?"}}, http.StatusOK, nil)
	if got := <-authorizations; got != "" {
		t.Errorf("it was asked with %q", got)
	}
	third.stop()

	// when none is named, it stays as it is
	fourth := serving(t, dir)
	if after := fourth.client(first.key).defaultBot(); after.Engine != "openai" || after.Model.Name != "large" {
		t.Errorf("it is %+v", after)
	}
	fourth.stop()
}

func TestAModelOfTheEnvironmentIsChecked(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		environment environment
		want        modelConfig
		says        string
	}{
		"none": {environment{}, modelConfig{}, ""},
		"one of OpenAI's": {
			environment{"OPENAI_MODEL": "small", "OPENAI_API_KEY": "sk-1"},
			modelConfig{Name: "small", BaseURL: "https://api.openai.com/v1", APIKey: "sk-1"},
			"",
		},
		"one of ours": {
			environment{"OPENAI_MODEL": "small", "OPENAI_BASE_URL": "http://localhost:11434/v1"},
			modelConfig{Name: "small", BaseURL: "http://localhost:11434/v1"},
			"",
		},
		"a key alone":        {environment{"OPENAI_API_KEY": "hush"}, modelConfig{}, "OPENAI_MODEL: must be set with OPENAI_BASE_URL and OPENAI_API_KEY"},
		"an address alone":   {environment{"OPENAI_BASE_URL": "http://localhost/v1"}, modelConfig{}, "OPENAI_MODEL: must be set with OPENAI_BASE_URL and OPENAI_API_KEY"},
		"an odd address":     {environment{"OPENAI_MODEL": "small", "OPENAI_BASE_URL": "hush"}, modelConfig{}, "OPENAI_BASE_URL: must be an http or https URL"},
		"a password":         {environment{"OPENAI_MODEL": "small", "OPENAI_BASE_URL": "http://u:hush@h/"}, modelConfig{}, "OPENAI_BASE_URL: must not contain a user or a password"},
		"a key of two lines": {environment{"OPENAI_MODEL": "small", "OPENAI_API_KEY": "hush\nhush"}, modelConfig{}, "OPENAI_API_KEY: must have visible ASCII characters only"},
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
