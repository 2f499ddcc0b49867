// Package httpapi serves the REST API: it implements the strict server that is generated from the
// OpenAPI document, and converts between the document's types and the rows of the database.
// Package contract has the middleware that runs before the handlers, package openai the /v1 API.
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
	"parley/internal/apperr"
	"parley/internal/audit"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/clientaddr"
	"parley/internal/fair"
	"parley/internal/faq"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/docs"
	"parley/internal/httpapi/openai"
	"parley/internal/inbox"
	"parley/internal/metrics"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/records"
	"parley/internal/run"
	"parley/internal/trace"
)

// Config is what the API serves from.
type Config struct {
	Auth    *auth.Auth
	Bots    *bot.Bots
	FAQs    *faq.FAQs
	Chat    *chat.Chat
	Runs    *run.Dispatcher
	Inboxes *inbox.Inboxes
	Records *records.Records
	Audit   *audit.Trail
	// Limiter counts requests by the classes of the document's x-rate-limit.
	Limiter *ratelimit.Limiter
	// Connect serves GET /ws. Errors that it returns are answered like those of other operations.
	Connect func(http.ResponseWriter, *http.Request) error
	Log     *slog.Logger
	// Ready returns nil if the service can serve requests, or the reason why it cannot.
	Ready func(context.Context) error
	// Link connects the instances; nil without Redis.
	Link *realtime.Redis
	// Origins are the browser origins that may read responses, as origin.Parse returns them.
	Origins []string
	// Proxies may describe the client of a request in Forwarded and X-Forwarded-* headers.
	Proxies clientaddr.Proxies
	// ReplyTimeout is how long a completion without streaming waits for its reply. The default is
	// 120 seconds.
	ReplyTimeout time.Duration
	// Requests counts the requests; nil counts nothing.
	Requests *metrics.Requests
	// Traces records spans; nil records nothing.
	Traces *trace.Tracer
}

// server implements the operations of the document: the handlers of one tag each.
type server struct {
	conversationHandlers
	messageHandlers
	completionHandlers
	runHandlers
	recordHandlers
	chatbotHandlers
	faqHandlers
	webChatHandlers
	inboxHandlers
	contactHandlers
	keyHandlers
	tokenHandlers
	auditHandlers
	serviceHandlers
	openai.Handlers
}

var _ openapi.StrictServerInterface = (*server)(nil)

func newServer(config Config) *server {
	timeout := cmp.Or(config.ReplyTimeout, 120*time.Second)
	return &server{
		conversationHandlers{config.Chat},
		messageHandlers{config.Chat},
		completionHandlers{config.Chat, timeout},
		runHandlers{config.Chat},
		recordHandlers{config.Bots, config.Records, config.Log, config.Traces},
		chatbotHandlers{config.Bots},
		faqHandlers{config.FAQs, fair.New(arrivingUploads), fair.New(uploadsInMemory)},
		webChatHandlers{config.Inboxes},
		inboxHandlers{config.Inboxes},
		contactHandlers{config.Inboxes, chat.NewContacts(config.Chat)},
		keyHandlers{config.Auth, config.Limiter},
		tokenHandlers{config.Auth, config.Chat},
		auditHandlers{config.Audit},
		serviceHandlers{config.Ready, config.Link},
		openai.Handlers{Bots: config.Bots, Chat: config.Chat, Runs: config.Runs, ReplyTimeout: timeout},
	}
}

// documentJSON returns the document as JSON, encoded once per process.
var documentJSON = sync.OnceValues(api.JSON)

// New returns the handler of every route. It fails if the document and the code do not match.
func New(config Config) (http.Handler, error) {
	asJSON, err := documentJSON()
	if err != nil {
		return nil, err
	}
	enforced, err := contract.New(contract.Config{
		Auth:        config.Auth,
		Limiter:     config.Limiter,
		Log:         config.Log,
		Requests:    config.Requests,
		Traces:      config.Traces,
		Origins:     config.Origins,
		OpenAIError: openAIError,
	})
	if err != nil {
		return nil, fmt.Errorf("read the contract: %w", err)
	}
	e := enforced.NewEcho()
	middlewares := enforced.Middlewares()
	openapi.RegisterHandlersWithOptions(e, openapi.NewStrictHandler(newServer(config), nil), openapi.RegisterHandlersOptions{OperationMiddlewares: middlewares})
	e.GET("/ws", func(ec echo.Context) error { return config.Connect(ec.Response(), ec.Request()) }, middlewares["connect"]...)
	e.GET("/openapi.yaml", docs.Contract("application/yaml", api.YAML, "{url: '"), enforced.Identify("getOpenapiYaml"))
	e.GET("/openapi.json", docs.Contract("application/json", asJSON, `"url":"`), enforced.Identify("getOpenapiJson"))
	e.GET("/docs", docs.Page(), enforced.Identify("getDocs"))
	e.GET("/docs/*", docs.Page(), enforced.Identify("getDocs"))
	return config.Proxies.Handler(contract.AnswerHead(e)), nil
}

// Starting returns a handler for the time until New can be called: /healthz is answered, everything
// else is unavailable.
func Starting(log *slog.Logger) http.Handler {
	return contract.Starting(contract.Config{Log: log, OpenAIError: openAIError})
}

func openAIError(appErr *apperr.Error) any { return openai.ErrorOf(appErr) }
