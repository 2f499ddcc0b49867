package httpapi

import (
	"encoding/json"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/bot"
)

// toAPIModel returns the model of a chatbot, without its API key.
func toAPIModel(row db.Bot) nullable.Nullable[openapi.Model] {
	model, err := bot.ModelOf(row)
	if err != nil || model == nil { // err is nil: package bot wrote the column
		return nullable.NewNullNullable[openapi.Model]()
	}
	parameters := json.RawMessage("{}")
	if len(model.Parameters) > 0 {
		parameters, _ = json.Marshal(model.Parameters) // decoded JSON can be encoded
	}
	return nullable.NewNullableWithValue(openapi.Model{
		BaseURL:       model.BaseURL,
		Name:          model.Name,
		Temperature:   orNull(model.Temperature),
		Parameters:    parameters,
		HistoryTokens: model.HistoryTokens,
		HasAPIKey:     row.ModelKey != nil,
	})
}

// fromAPIModel returns nil if the model is absent or null.
func fromAPIModel(field nullable.Nullable[openapi.ModelSettings]) (*bot.NewModel, error) {
	settings, err := field.Get()
	if err != nil {
		return nil, nil //nolint:nilerr // absent or null
	}
	model := &bot.NewModel{
		Model:       bot.Model{BaseURL: settings.BaseURL, Name: settings.Name, HistoryTokens: bot.DefaultHistoryTokens},
		KeepsAPIKey: !settings.APIKey.IsSpecified(),
	}
	if settings.HistoryTokens != nil {
		model.HistoryTokens = *settings.HistoryTokens
	}
	if temperature, err := settings.Temperature.Get(); err == nil { // neither absent nor null
		model.Temperature = &temperature
	}
	if key, err := settings.APIKey.Get(); err == nil { // neither absent nor null
		model.APIKey = key
	}
	if settings.Parameters != nil {
		if err := json.Unmarshal(*settings.Parameters, &model.Parameters); err != nil {
			return nil, apperr.Field(apperr.InvalidRequest, "/model/parameters", "must be an object")
		}
	}
	return model, nil
}
