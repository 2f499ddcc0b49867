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

// DefaultHistoryTokens is how much of a conversation goes to the model where its settings do not say.
const DefaultHistoryTokens = 4000

// Model is what a chatbot of the engine EngineOpenAI is answered by: a model behind an OpenAI-compatible server. Its API
// key is kept apart from it.
type Model struct {
	// BaseURL is the server's address up to and without /chat/completions.
	BaseURL string `json:"baseUrl"`
	Name    string `json:"name"`
	// Temperature is left to the server where it is nil.
	Temperature *float64 `json:"temperature,omitempty"`
	// Parameters go into each request as they are. They cannot say what Parley says itself.
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
	// HistoryTokens bounds how much of the conversation before the question goes along, by the estimate of tokensOf.
	HistoryTokens int `json:"historyTokens"`
}

// NewModel is the model that a chatbot is to have. Without an APIKey it KeepsAPIKey or has none; it keeps none where the
// base URL changes: a key is for the server that it was given for.
type NewModel struct {
	Model
	APIKey      string
	KeepsAPIKey bool
}

// reserved are the parameters that Parley sets itself: what is asked, and how the answer comes.
var reserved = []string{"messages", "model", "stream", "stream_options", "n"}

// maxParameters bounds what each request and each answer about the chatbot carries along, in bytes.
const maxParameters = 16 << 10

func isPort(text string) bool {
	port, err := strconv.ParseUint(text, 10, 16)
	return err == nil && port > 0
}

// CheckBaseURL tells what is wrong with the address of a model server. Private addresses are allowed, since operators run
// models of their own: who may set one is trusted with that.
func CheckBaseURL(text string) error {
	address, err := url.Parse(text)
	switch {
	case err != nil || address.Scheme != "http" && address.Scheme != "https" || address.Hostname() == "":
		return errors.New("must be an http or https URL")
	case address.Port() != "" && !isPort(address.Port()), strings.HasSuffix(address.Host, ":"):
		return errors.New("must have a port from 1 to 65535, or none")
	case address.User != nil:
		return errors.New("must not hold a user or a password")
	case address.RawQuery != "" || address.ForceQuery || strings.Contains(text, "#"):
		return errors.New("must have neither a query nor a fragment")
	}
	return nil
}

// check finds what is wrong with the settings, which are at /model in the request, where the document does not say it.
func (m Model) check() error {
	if err := CheckBaseURL(m.BaseURL); err != nil {
		return apperr.Field(apperr.InvalidRequest, "/model/baseUrl", err.Error())
	}
	size := 0
	for name, value := range m.Parameters {
		// Some servers read names in any case.
		if slices.Contains(reserved, strings.ToLower(name)) {
			return apperr.Field(apperr.InvalidRequest, "/model/parameters/"+name, "is set by Parley itself")
		}
		size += len(name) + len(value)
	}
	if size > maxParameters {
		return apperr.Field(apperr.InvalidRequest, "/model/parameters", "must have at most 16384 bytes")
	}
	return nil
}

// ModelOf returns a chatbot's model, nil when it has none. A row that was kept as JSON, to be answered with again, has a
// null for it.
func ModelOf(owner db.Bot) (found *Model, err error) {
	if owner.Model == nil {
		return nil, nil
	}
	if err := json.Unmarshal(owner.Model, &found); err != nil {
		return nil, fmt.Errorf("read a chatbot's model: %w", err)
	}
	return found, nil
}

// toColumns checks a model and makes it what the columns hold for a bot, of which only the keys need be there when it is
// new.
func (n *NewModel) toColumns(owner db.Bot, keys *secret.Keys) (model json.RawMessage, apiKey []byte, err error) {
	if n == nil {
		return nil, nil, nil
	}
	if err := n.check(); err != nil {
		return nil, nil, err
	}
	if model, err = json.Marshal(n.Model); err != nil {
		return nil, nil, fmt.Errorf("encode a model: %w", err)
	}
	switch {
	case n.APIKey != "" && keys == nil:
		return nil, nil, errNoKeys
	case n.APIKey != "":
		return model, keys.Seal(n.APIKey, placeOf(owner)), nil
	case !n.KeepsAPIKey:
		return model, nil, nil
	}
	before, err := ModelOf(owner)
	if err != nil {
		return nil, nil, err
	}
	if before == nil || trimmed(before.BaseURL) != trimmed(n.BaseURL) {
		return model, nil, nil
	}
	return model, owner.ModelKey, nil
}

var errNoKeys = errors.New("there are no keys to seal an API key with")

// trimmed is a base URL without what makes no difference to where it leads.
func trimmed(baseURL string) string { return strings.TrimRight(baseURL, "/") }

// placeOf is where a bot's secrets belong: copied to another bot's row they do not open.
func placeOf(owner db.Bot) []byte {
	return slices.Concat([]byte("bots.model_key"), owner.OrganizationID[:], owner.ID[:])
}

// openKey returns a bot's API key, empty when it has none.
func openKey(owner db.Bot, keys *secret.Keys) (string, error) {
	if owner.ModelKey == nil {
		return "", nil
	}
	if keys == nil {
		return "", errNoKeys
	}
	return keys.Open(owner.ModelKey, placeOf(owner))
}

// UseModel has a chatbot answered by a model; its other settings stay. Where it is so already nothing is written.
func (b *Bots) UseModel(ctx context.Context, owner db.Bot, baseURL, name, apiKey string) error {
	wanted := NewModel{Model: Model{HistoryTokens: DefaultHistoryTokens}, APIKey: apiKey}
	before, err := ModelOf(owner)
	if err != nil {
		return err
	}
	if before != nil {
		wanted.Model = *before
	}
	// A key that does not open is replaced.
	if key, err := openKey(owner, b.keys); err == nil && key == apiKey && before != nil && owner.Engine == EngineOpenAI &&
		before.BaseURL == baseURL && before.Name == name {
		return nil
	}
	wanted.BaseURL, wanted.Name = baseURL, name
	_, err = b.Update(ctx, owner.OrganizationID, owner.ID.String(), BotChange{Engine: new(EngineOpenAI), Model: &wanted})
	return err
}
