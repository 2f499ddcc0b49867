package httpapi

import (
	"cmp"
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
	omitted := make([]openapi.ModelOmission, len(model.Omit))
	for i, part := range model.Omit {
		omitted[i] = openapi.ModelOmission(part)
	}
	timeouts := model.Timeouts
	return nullable.NewNullableWithValue(openapi.Model{
		BaseURL:       model.BaseURL,
		Name:          model.Name,
		Temperature:   orNull(model.Temperature),
		Parameters:    parameters,
		HistoryTokens: model.HistoryTokens,
		Omit:          omitted,
		Timeouts: openapi.ModelTimeouts{
			FirstToken:    cmp.Or(timeouts.FirstToken, bot.DefaultFirstTokenTimeout),
			BetweenTokens: cmp.Or(timeouts.BetweenTokens, bot.DefaultBetweenTokensTimeout),
			Total:         cmp.Or(timeouts.Total, bot.DefaultTotalTimeout),
		},
		HasAPIKey: row.ModelKey != nil,
	})
}

// fromAPIModel returns nil if the model is absent or null.
func fromAPIModel(field nullable.Nullable[openapi.ModelSettings]) (*bot.NewModel, error) {
	settings, err := field.Get()
	if err != nil {
		return nil, nil //nolint:nilerr // absent or null
	}
	model := &bot.NewModel{
		Model:       bot.Model{BaseURL: deref(settings.BaseURL), Name: settings.Name, HistoryTokens: bot.DefaultHistoryTokens},
		KeepsAPIKey: !settings.APIKey.IsSpecified(),
	}
	if settings.HistoryTokens != nil {
		model.HistoryTokens = *settings.HistoryTokens
	}
	for _, part := range deref(settings.Omit) {
		model.Omit = append(model.Omit, string(part))
	}
	if timeouts := settings.Timeouts; timeouts != nil {
		model.Timeouts = bot.Timeouts{FirstToken: deref(timeouts.FirstToken), BetweenTokens: deref(timeouts.BetweenTokens), Total: deref(timeouts.Total)}
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
