package httpapi

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/swaggest/swgui"
	"github.com/swaggest/swgui/v5emb"

	"parley/api"
	"parley/gen/openapi"
	"parley/internal/fault"
)

// GetProblem implements GET /problems/{code}.
func (a *API) GetProblem(_ context.Context, request openapi.GetProblemRequestObject) (openapi.GetProblemResponseObject, error) {
	about, ok := kinds[fault.Kind(request.Code)]
	if !ok {
		return nil, fault.New(fault.NotFound, "There is no such problem.")
	}
	return openapi.GetProblem200JSONResponse{
		Code:        openapi.ProblemCode(request.Code),
		Title:       about.title,
		Status:      about.status,
		Description: about.description,
		Retryable:   about.isRetryable,
	}, nil
}

// GetOpenapiYaml implements GET /openapi.yaml.
func (a *API) GetOpenapiYaml(context.Context, openapi.GetOpenapiYamlRequestObject) (openapi.GetOpenapiYamlResponseObject, error) {
	return openapi.GetOpenapiYaml200ApplicationYamlResponse{Body: bytes.NewReader(api.YAML), ContentLength: int64(len(api.YAML))}, nil
}

// document is an answer that is written as it is.
type document []byte

// VisitGetOpenapiJSONResponse writes the document.
func (d document) VisitGetOpenapiJSONResponse(w http.ResponseWriter) error {
	w.Header().Set("Content-Type", "application/json")
	_, err := w.Write(d)
	return err
}

// GetOpenapiJSON implements GET /openapi.json.
func (a *API) GetOpenapiJSON(context.Context, openapi.GetOpenapiJSONRequestObject) (openapi.GetOpenapiJSONResponseObject, error) {
	return document(a.document), nil
}

// docs is the reference page with its scripts and styles, at /docs and below; what it
// does not have is a problem as everywhere.
func docs() echo.HandlerFunc {
	// Every operation is listed, none unfolded.
	settings := map[string]string{"docExpansion": `"list"`, "defaultModelsExpandDepth": "0"}
	page := v5emb.NewWithConfig(swgui.Config{SettingsUI: settings})("Parley", "/openapi.json", "/docs")
	return func(ec echo.Context) error {
		w := &found{ResponseWriter: ec.Response()}
		page.ServeHTTP(w, ec.Request())
		if w.isMissing {
			return echo.ErrNotFound
		}
		return nil
	}
}

// found passes on what a file server finds, and nothing of its own 404.
type found struct {
	http.ResponseWriter
	isMissing bool
}

// WriteHeader notes that there is no such file.
func (f *found) WriteHeader(status int) {
	if f.isMissing = status == http.StatusNotFound; !f.isMissing {
		f.ResponseWriter.WriteHeader(status)
	}
}

// Write drops what is said of a file that is missing.
func (f *found) Write(data []byte) (int, error) {
	if f.isMissing {
		return len(data), nil
	}
	return f.ResponseWriter.Write(data)
}

// Starting answers as long as the service starts: it lives, and can do nothing yet.
func Starting(log *slog.Logger) http.Handler {
	server := &API{Config: Config{Log: log}}
	e := echo.New()
	e.HTTPErrorHandler = server.answerError
	e.Pre(server.observe, func(echo.HandlerFunc) echo.HandlerFunc {
		return func(ec echo.Context) error {
			if ec.Request().URL.Path == "/healthz" {
				return ec.JSON(http.StatusOK, openapi.Health{Status: openapi.HealthStatusOk})
			}
			return &fault.Error{Kind: fault.Unavailable, Message: "The service is starting.", RetryAfter: time.Second}
		}
	})
	return e
}

// readyTime bounds the look at the database.
const readyTime = 2 * time.Second

// GetHealth implements GET /healthz.
func (a *API) GetHealth(context.Context, openapi.GetHealthRequestObject) (openapi.GetHealthResponseObject, error) {
	return openapi.GetHealth200JSONResponse{Status: openapi.HealthStatusOk}, nil
}

// GetReadiness implements GET /readyz.
func (a *API) GetReadiness(ctx context.Context, _ openapi.GetReadinessRequestObject) (openapi.GetReadinessResponseObject, error) {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	if err := a.Ready(ctx); err != nil {
		return nil, &fault.Error{Kind: fault.Unavailable, Message: "The service is not ready.", RetryAfter: time.Second, Err: err}
	}
	ready := openapi.GetReadiness200JSONResponse{Status: openapi.ReadinessStatusOk}
	if a.Link != nil {
		ready.Redis = new(openapi.ReadinessRedisOk)
		if a.Link.IsAway() {
			*ready.Redis = openapi.ReadinessRedisAway
		}
	}
	return ready, nil
}
