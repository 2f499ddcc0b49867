package httpapi

import (
	"encoding/json"

	"github.com/oapi-codegen/nullable"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/bot"
)

// toAPIModel shows a bot's model, and of its key only that there is one.
func toAPIModel(row db.Bot) nullable.Nullable[openapi.Model] {
	model, err := bot.ModelOf(row)
	if err != nil || model == nil { // what is stored was written by bot itself
		return nullable.NewNullNullable[openapi.Model]()
	}
	temperature := nullable.NewNullNullable[float64]()
	if model.Temperature != nil {
		temperature.Set(*model.Temperature)
	}
	parameters := json.RawMessage("{}")
	if len(model.Parameters) > 0 {
		parameters, _ = json.Marshal(model.Parameters) // is JSON already
	}
	return nullable.NewNullableWithValue(openapi.Model{
		BaseURL:       model.BaseURL,
		Name:          model.Name,
		Temperature:   temperature,
		Parameters:    parameters,
		HistoryTokens: model.HistoryTokens,
		HasAPIKey:     row.ModelKey != nil,
	})
}

// fromAPIModel returns nil for none, absent or null.
func fromAPIModel(given nullable.Nullable[openapi.ModelSettings]) (*bot.NewModel, error) {
	if !given.IsSpecified() || given.IsNull() {
		return nil, nil
	}
	settings := given.MustGet()
	model := &bot.NewModel{
		Model:       bot.Model{BaseURL: settings.BaseURL, Name: settings.Name, HistoryTokens: bot.DefaultHistoryTokens},
		KeepsAPIKey: !settings.APIKey.IsSpecified(),
	}
	if settings.HistoryTokens != nil {
		model.HistoryTokens = *settings.HistoryTokens
	}
	if settings.Temperature.IsSpecified() && !settings.Temperature.IsNull() {
		model.Temperature = new(settings.Temperature.MustGet())
	}
	if settings.APIKey.IsSpecified() && !settings.APIKey.IsNull() {
		model.APIKey = settings.APIKey.MustGet()
	}
	if settings.Parameters != nil {
		if err := json.Unmarshal(*settings.Parameters, &model.Parameters); err != nil {
			return nil, apperr.Field(apperr.InvalidRequest, "/model/parameters", "must be an object")
		}
	}
	return model, nil
}
