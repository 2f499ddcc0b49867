// Package httpapi is the REST door: the strict server generated from the OpenAPI
// document, the contract middleware that enforces that document, problem
// documents, event streams, and the conversions between the document's types and
// the database's rows.
package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"parley/api"
	"parley/gen/openapi"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/faq"
	"parley/internal/metrics"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/records"
	"parley/internal/shortcuts"
	"parley/internal/trace"
)

// Config is what the API serves from.
type Config struct {
	Auth *auth.Auth
	Bots *bot.Bots
	FAQs *faq.FAQs
	Chat *chat.Chat
	// Records are what listRecords, exportRecords and getStatistics speak of.
	Records *records.Records
	// Audit is the trail that listAuditEvents reads.
	Audit *audit.Trail
	// Limiter counts requests by the classes of the document's x-rate-limit.
	Limiter *ratelimit.Limiter
	// Connect serves GET /ws; an error that it returns is answered as any other.
	Connect func(http.ResponseWriter, *http.Request) error
	Log     *slog.Logger
	// Ready tells whether the service can serve, nil, or why not.
	Ready func(context.Context) error
	// Link joins the instances; nil where no Redis is used.
	Link *realtime.Redis
	// Origins are the browser origins that may read answers; `*` is all.
	Origins []string
	// Shortcuts says which shortcuts are taken.
	Shortcuts shortcuts.Set
	// Patience is how long a completion that is not streamed waits for its reply; zero: 120 seconds.
	Patience time.Duration
	// Requests counts the requests; nil: nobody does.
	Requests *metrics.Requests
	// Traces follows them; nil: nobody does.
	Traces *trace.Tracer
}

// API implements the operations of the document.
type API struct {
	Config
	// uploads has the places of those that are in memory.
	uploads chan struct{}
}

var _ openapi.StrictServerInterface = (*API)(nil)

// served is the document as JSON, made once for all servers of a process.
var served = sync.OnceValues(api.JSON)

// New returns the handler of every route. It fails when the document and the code
// do not go together.
func New(config Config) (http.Handler, error) {
	asJSON, err := served()
	if err != nil {
		return nil, err
	}
	config.Patience = cmp.Or(config.Patience, 120*time.Second)
	server := &API{Config: config, uploads: make(chan struct{}, maxUploads)}
	contract, err := newContract(config.Auth, config.Limiter)
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	for _, op := range contract.operations {
		op.counted = config.Requests.Operation(op.id, op.route.Method)
	}

	e := echo.New()
	e.HTTPErrorHandler = server.answerError
	e.Pre(server.observe)
	if len(config.Origins) > 0 {
		e.Pre(allowOrigins(config.Origins))
	}
	e.Pre(newAliases(contract.operations).rewrite)
	options := openapi.RegisterHandlersOptions{OperationMiddlewares: contract.middlewares()}
	openapi.RegisterHandlersWithOptions(e, openapi.NewStrictHandler(server, nil), options)

	e.GET("/ws", func(ec echo.Context) error { return config.Connect(ec.Response(), ec.Request()) }, options.OperationMiddlewares["connect"]...)
	e.GET("/openapi.yaml", newDocument("application/yaml", api.YAML).answer, contract.counted("getOpenapiYaml"))
	e.GET("/openapi.json", newDocument("application/json", asJSON).answer, contract.counted("getOpenapiJson"))
	e.GET("/docs", docs(), contract.counted("getDocs"))
	e.GET("/docs/*", docs(), contract.counted("getDocs"))
	return e, nil
}
