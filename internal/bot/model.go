package bot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/secret"
)

// DefaultHistoryTokens is the default size of the conversation that the model receives, in tokens.
const DefaultHistoryTokens = 4000

// The default timeouts of a model, in seconds.
const (
	DefaultFirstTokenTimeout    = 60
	DefaultBetweenTokensTimeout = 30
	DefaultTotalTimeout         = 600
)

// Timeouts are the timeouts of a reply in seconds. Zero means the default.
type Timeouts struct {
	// FirstToken is how long the server may take to send the first token.
	FirstToken int `json:"firstToken,omitempty"`
	// BetweenTokens is the longest silence of the server after the first token.
	BetweenTokens int `json:"betweenTokens,omitempty"`
	// Total bounds the whole reply.
	Total int `json:"total,omitempty"`
}

// The parts of a request that a model's settings can leave out.
const (
	OmitStreamOptions = "stream_options"
	OmitStream        = "stream"
	OmitSystem        = "system"
)

// Model holds the settings of EngineOpenAI: a model on an OpenAI-compatible server. The API key is
// stored separately, sealed.
type Model struct {
	// BaseURL is the server's URL, without the final /chat/completions.
	BaseURL string `json:"baseUrl"`
	Name    string `json:"name"`
	// Temperature is the server's default if it is nil.
	Temperature *float64 `json:"temperature,omitempty"`
	// Parameters are added to every request. They cannot override what Parley sets.
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	// HistoryTokens bounds how much of the conversation precedes the question, in estimated tokens.
	HistoryTokens int `json:"historyTokens"`
	// Omit lists the parts of a request that the server does not accept.
	Omit     []string `json:"omit,omitempty"`
	Timeouts Timeouts `json:"timeouts,omitzero"`
}

// NewModel holds the model settings to store. Without a base URL, they name the model that the
// operator has configured. With KeepsAPIKey and no APIKey, the stored API key is
// kept, unless the base URL changes: an API key must not reach a server that it was not given for.
type NewModel struct {
	Model
	APIKey      string
	KeepsAPIKey bool
}

// reservedParameters are set by Parley in every request.
var reservedParameters = []string{"messages", "model", "stream", "stream_options", "n"}

// maxParameters bounds the parameters, in bytes: every request to the model and every response with
// the chatbot contains them.
const maxParameters = 16 << 10

// CheckBaseURL returns what is wrong with the URL of a model server, as the rest of a sentence
// about it. Private addresses are allowed, because operators run their own models; setting a model
// requires a trusted scope.
func CheckBaseURL(text string) error {
	address, err := url.Parse(text)
	switch {
	case err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Hostname() == "":
		return errors.New("must be an http or https URL")
	case address.Port() != "" && !isPort(address.Port()), strings.HasSuffix(address.Host, ":"):
		return errors.New("must have a port from 1 to 65535, or none")
	case address.User != nil:
		return errors.New("must not contain a user or a password")
	case address.RawQuery != "" || address.ForceQuery || strings.Contains(text, "#"):
		return errors.New("must have neither a query nor a fragment")
	}
	return nil
}

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// validate checks the rules that the schema of /model cannot express.
func (m Model) validate() error {
	if err := CheckBaseURL(m.BaseURL); err != nil {
		return apperr.Field(apperr.InvalidRequest, "/model/baseUrl", err.Error())
	}
	size := 0
	for name, value := range m.Parameters {
		// Some servers ignore the case of names.
		if slices.Contains(reservedParameters, strings.ToLower(name)) {
			return apperr.Field(apperr.InvalidRequest, "/model/parameters/"+name, "is set by Parley itself")
		}
		size += len(name) + len(value)
	}
	if size > maxParameters {
		return apperr.Field(apperr.InvalidRequest, "/model/parameters", "must have at most 16384 bytes")
	}
	return nil
}

// completeModel completes settings without a base URL, which name the model that the operator has
// configured, and reports whether they do.
func (b *Bots) completeModel(n *NewModel) (bool, error) {
	switch {
	case n == nil || n.BaseURL != "":
		return false, nil
	case b.configured == nil:
		return false, apperr.Field(apperr.InvalidRequest, "/model", "must have a baseUrl, because the operator has not configured a model (OPENAI_MODEL)")
	case n.Name != b.configured.Name:
		return false, apperr.Field(apperr.InvalidRequest, "/model", fmt.Sprintf("must have a baseUrl, or else name the model that the operator has configured: %s", b.configured.Name))
	}
	n.BaseURL = b.configured.BaseURL
	if n.KeepsAPIKey {
		n.APIKey, n.KeepsAPIKey = b.configured.APIKey, false
	}
	return true, nil
}

// ModelOf returns a chatbot's model settings, nil if it has none. The column of a row that was
// stored as JSON, for an idempotency key, may also be the JSON value null.
func ModelOf(chatbot db.Bot) (model *Model, err error) {
	if chatbot.Model == nil {
		return nil, nil
	}
	if err := json.Unmarshal(chatbot.Model, &model); err != nil {
		return nil, fmt.Errorf("read a chatbot's model: %w", err)
	}
	return model, nil
}

// toColumns checks the settings and returns their columns for a chatbot. Of a new chatbot, only the
// primary key must be set.
func (n *NewModel) toColumns(chatbot db.Bot, keys *secret.Keys) (model json.RawMessage, apiKey []byte, err error) {
	if n == nil {
		return nil, nil, nil
	}
	if err := n.validate(); err != nil {
		return nil, nil, err
	}
	if model, err = json.Marshal(n.Model); err != nil {
		return nil, nil, fmt.Errorf("encode a model: %w", err)
	}
	switch {
	case n.APIKey != "" && keys == nil:
		return nil, nil, errNoKeys
	case n.APIKey != "":
		return model, keys.Seal(n.APIKey, sealContext(chatbot)), nil
	case !n.KeepsAPIKey:
		return model, nil, nil
	}
	previous, err := ModelOf(chatbot)
	if err != nil {
		return nil, nil, err
	}
	if previous == nil || trimBaseURL(previous.BaseURL) != trimBaseURL(n.BaseURL) {
		return model, nil, nil
	}
	return model, chatbot.ModelKey, nil
}

var errNoKeys = errors.New("no keys are configured to seal API keys with")

// trimBaseURL removes trailing slashes, which do not change the server.
func trimBaseURL(baseURL string) string { return strings.TrimRight(baseURL, "/") }

// sealContext binds a sealed API key to its chatbot: in another chatbot's row it cannot be opened.
func sealContext(chatbot db.Bot) []byte {
	return slices.Concat([]byte("bots.model_key"), chatbot.OrganizationID[:], chatbot.ID[:])
}

// ModelAPIKey returns a chatbot's API key for its model server, empty if it has none.
func ModelAPIKey(chatbot db.Bot, keys *secret.Keys) (string, error) {
	if chatbot.ModelKey == nil {
		return "", nil
	}
	if keys == nil {
		return "", errNoKeys
	}
	return keys.Open(chatbot.ModelKey, sealContext(chatbot))
}

// UseModel switches a chatbot to EngineOpenAI with this model and keeps its other settings. It
// writes nothing if the chatbot already uses the model.
func (b *Bots) UseModel(ctx context.Context, chatbot db.Bot, baseURL, name, apiKey string) error {
	wanted := NewModel{Model: Model{HistoryTokens: DefaultHistoryTokens}, APIKey: apiKey}
	previous, err := ModelOf(chatbot)
	if err != nil {
		return err
	}
	if previous != nil {
		wanted.Model = *previous
	}
	// A stored key that cannot be opened is replaced.
	if key, err := ModelAPIKey(chatbot, b.keys); err == nil && key == apiKey && previous != nil &&
		chatbot.Engine == EngineOpenAI && previous.BaseURL == baseURL && previous.Name == name {
		return nil
	}
	wanted.BaseURL, wanted.Name = baseURL, name
	_, err = b.Update(ctx, chatbot.OrganizationID, chatbot.ID.String(), Change{Engine: new(EngineOpenAI), Model: &wanted})
	return err
}
