package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"parley/internal/bot"
	"parley/internal/clientaddr"
	"parley/internal/egress"
	"parley/internal/origin"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/secret"
	"parley/internal/store"
	"parley/internal/visit"
	"parley/internal/wsapi"
)

// config is the configuration, which is read from environment variables alone. An empty variable is
// the same as an unset one.
type config struct {
	// Addr is the address to listen on, as host:port. Without a host it is every local address.
	Addr string // PARLEY_ADDR, default :8080
	// DebugAddr is the private address that serves profiles and metrics, as host:port. Requests to it
	// need no key.
	DebugAddr string // PARLEY_DEBUG_ADDR, default none
	// DataDir holds the private PostgreSQL, the admin key and the secret key.
	DataDir string // PARLEY_DATA_DIR, default /var/lib/parley for root, else $XDG_DATA_HOME/parley or ~/.local/share/parley
	// DatabaseURL is the PostgreSQL database, as a URL or as key=value pairs.
	DatabaseURL string // DATABASE_URL, default a private PostgreSQL in DataDir
	// RedisURL is the Redis or Valkey that connects the instances which share the database.
	RedisURL string // REDIS_URL, default none
	// BootstrapKey is the admin key that the first start creates, as <prefix>.<secret>.
	BootstrapKey string // PARLEY_BOOTSTRAP_KEY, default generated
	// SecretKey is one or more keys of 32 bytes in base64, separated by commas. The first one encrypts
	// stored secrets and signs client tokens. All of them decrypt and verify.
	SecretKey string // PARLEY_SECRET_KEY, default generated in DataDir; required with DATABASE_URL
	// Model is the model of the first organization's default chatbot. Each start applies it.
	Model modelConfig
	// PostgresBin is the directory of the private PostgreSQL's programs.
	PostgresBin string // PARLEY_POSTGRES_BIN, default found in PATH or /usr/lib/postgresql
	// AllowedOrigins are the origins of the web pages that may call the API, as package origin
	// matches them.
	AllowedOrigins []string // PARLEY_ALLOWED_ORIGINS, default none
	// TrustedProxies are the reverse proxies whose Forwarded and X-Forwarded-* headers are trusted.
	TrustedProxies clientaddr.Proxies // PARLEY_TRUSTED_PROXIES, default none
	// ModelNetworks are the private and other special networks that model servers may be in. The
	// default is the loopback and private ones without DATABASE_URL, otherwise none.
	ModelNetworks egress.Networks // PARLEY_MODEL_NETWORKS
	// RateLimits is the number of requests per minute and user. 0 is unlimited, for a class or for all.
	RateLimits ratelimit.Limits // PARLEY_RATE_LIMITS, default messages=60,history=100,list=30,reads=6000,writes=1200,reports=60
	// RateCeilings are the highest limits that an API key can be given, and the limits of all client tokens of a user
	// together. 0 is unlimited.
	RateCeilings ratelimit.Limits // PARLEY_RATE_CEILINGS, default messages=6000,history=10000,list=3000,reads=60000,writes=12000,reports=600
	// Replies limits the number of concurrent replies. Further replies are queued.
	Replies replyLimits // PARLEY_REPLY_LIMITS, default instance=512,organization=256
	// Messages limits the characters of a message.
	Messages messageLimits // PARLEY_MESSAGE_LIMITS, default characters=100000,anonymous=4000
	// Sockets limits the open WebSockets, and sets their timeouts.
	Sockets wsapi.Limits // PARLEY_SOCKET_LIMITS, default user=100,address=1000,visitors=50; PARLEY_SOCKET_TIMES, default ping=25s,pong=20s,write=10s,idle=0
	// SocketQueue is how many events are buffered for a WebSocket before it reads from the database.
	SocketQueue int // PARLEY_SOCKET_LIMITS, default queue=64
	// Anonymous serves visitors without an API key. It is off by default if visitors could cause costs: with a model,
	// or with a database that others use too.
	Anonymous bool // PARLEY_ANONYMOUS, on or off, default off if DATABASE_URL or OPENAI_MODEL is set, else on
	// Visits limits what anonymous visits may hold in memory.
	Visits visit.Limits // PARLEY_ANONYMOUS_LIMITS, default visits=10000,visit_bytes=262144,bytes=67108864
	// AnonymousTTL is the lifetime of an inactive anonymous visit.
	AnonymousTTL time.Duration // PARLEY_ANONYMOUS_TTL, default 30m
	// Drain is how long a stopping server still serves requests while /readyz answers 503, so that load
	// balancers notice.
	Drain time.Duration // PARLEY_DRAIN, default 0s
	// SearchIndex maintains the index over the contents of all messages. Without it a search reads the
	// messages.
	SearchIndex bool // PARLEY_SEARCH_INDEX, on or off, default on
	// Traces exports traces. OpenTelemetry's library reads its other variables, such as the endpoint.
	Traces bool // OTEL_TRACES_EXPORTER, otlp or none; default otlp if OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set
	// LogLevel is the lowest level that is logged: debug, info, warn or error.
	LogLevel slog.Level // PARLEY_LOG_LEVEL, default info

	// UnknownVariables are the PARLEY_ variables that are not settings, sorted.
	UnknownVariables []string
}

// modelConfig is a model on an OpenAI-compatible server. The zero modelConfig means that no model is configured.
type modelConfig struct {
	Name    string // OPENAI_MODEL, required with the other two
	BaseURL string // OPENAI_BASE_URL, default https://api.openai.com/v1
	APIKey  string // OPENAI_API_KEY, default none
}

// replyLimits limits the number of concurrent replies. 0 is unlimited.
type replyLimits struct {
	Instance     int // by this process
	Organization int // by this process for one organization
}

// messageLimits limits the characters of a message.
type messageLimits struct {
	Characters int // with a key, a token or a ticket
	Anonymous  int // from an anonymous visitor
}

// refusalsPerMinute is the number of requests without a valid key that an IP address may send per minute.
const refusalsPerMinute = 1000

// environment is the environment variables by name.
type environment map[string]string

// processEnvironment returns the environment of this process.
func processEnvironment() environment {
	env := environment{}
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		env[name] = value
	}
	return env
}

// loadConfig reads the configuration. Its error has one line for each invalid variable, which starts
// with the name of the variable.
func loadConfig(env environment, isRoot bool, home string) (config, error) {
	l := &envLoader{env: env, known: map[string]bool{"PARLEY_KEY": true}} // of `parley conformance`
	c := config{
		Addr:           parseVariable(l, "PARLEY_ADDR", ":8080", parseAddr),
		DebugAddr:      parseVariable(l, "PARLEY_DEBUG_ADDR", "", parseDebugAddr),
		DataDir:        loadDataDir(l, isRoot, home),
		DatabaseURL:    parseVariable(l, "DATABASE_URL", "", parseDatabaseURL),
		RedisURL:       parseVariable(l, "REDIS_URL", "", parseRedisURL),
		BootstrapKey:   parseVariable(l, "PARLEY_BOOTSTRAP_KEY", "", parseBootstrapKey),
		SecretKey:      parseVariable(l, "PARLEY_SECRET_KEY", "", parseSecretKey),
		Model:          loadModel(l),
		PostgresBin:    parseVariable(l, "PARLEY_POSTGRES_BIN", "", parsePostgresBin),
		AllowedOrigins: parseVariable(l, "PARLEY_ALLOWED_ORIGINS", "", parseOrigins),
		TrustedProxies: parseVariable(l, "PARLEY_TRUSTED_PROXIES", "", clientaddr.Parse),
		ModelNetworks:  parseVariable(l, "PARLEY_MODEL_NETWORKS", "", egress.Parse),
		RateLimits:     loadRateLimits(l),
		RateCeilings:   loadRateCeilings(l),
		Replies:        loadReplyLimits(l),
		Messages:       loadMessageLimits(l),
	}
	c.Sockets, c.SocketQueue = loadSocketLimits(l)
	c.Anonymous = parseVariable(l, "PARLEY_ANONYMOUS", defaultAnonymous(c), parseSwitch)
	if l.get("PARLEY_MODEL_NETWORKS") == "" && c.DatabaseURL == "" {
		c.ModelNetworks = egress.Private()
	}
	c.Visits = loadVisitLimits(l)
	c.AnonymousTTL = parseVariable(l, "PARLEY_ANONYMOUS_TTL", "30m", parseTTL)
	c.Drain = parseVariable(l, "PARLEY_DRAIN", "0s", parseDrain)
	c.SearchIndex = parseVariable(l, "PARLEY_SEARCH_INDEX", "on", parseSwitch)
	c.Traces = loadTraces(l)
	c.LogLevel = parseVariable(l, "PARLEY_LOG_LEVEL", "info", parseLogLevel)
	c.UnknownVariables = l.unknown()
	return c, errors.Join(l.errs...)
}

// envLoader reads variables and collects their errors.
type envLoader struct {
	env   environment
	known map[string]bool // the variables that were read
	errs  []error
}

func (l *envLoader) get(name string) string {
	l.known[name] = true
	return l.env[name]
}

// check records an error of a variable, if err is one.
func (l *envLoader) check(name string, err error) {
	if err != nil {
		l.errs = append(l.errs, fmt.Errorf("%s: %w", name, err))
	}
}

// parseVariable parses a variable or, if it is empty, the default. If both are empty, it returns the zero value.
func parseVariable[V any](l *envLoader, name, defaultText string, parse func(text string) (V, error)) V {
	text := cmp.Or(l.get(name), defaultText)
	if text == "" {
		return *new(V)
	}
	value, err := parse(text)
	l.check(name, err)
	return value
}

// unknown returns the names of the PARLEY_ variables that were not read.
func (l *envLoader) unknown() []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(l.env)) {
		if strings.HasPrefix(name, "PARLEY_") && !l.known[name] {
			names = append(names, name)
		}
	}
	return names
}

func loadModel(l *envLoader) modelConfig {
	m := modelConfig{Name: l.get("OPENAI_MODEL"), BaseURL: l.get("OPENAI_BASE_URL"), APIKey: l.get("OPENAI_API_KEY")}
	if m == (modelConfig{}) {
		return m
	}
	if m.Name == "" {
		l.check("OPENAI_MODEL", errors.New("must be set if OPENAI_BASE_URL or OPENAI_API_KEY is set"))
	}
	m.BaseURL = cmp.Or(m.BaseURL, "https://api.openai.com/v1")
	l.check("OPENAI_BASE_URL", bot.CheckBaseURL(m.BaseURL)) // does not repeat the URL, which may hold a password
	if strings.ContainsFunc(m.APIKey, func(r rune) bool { return r < '!' || r > '~' }) {
		l.check("OPENAI_API_KEY", errors.New("must have visible ASCII characters only"))
	}
	return m
}

// loadTraces reports whether traces are exported. The variables are defined by OpenTelemetry.
func loadTraces(l *envLoader) bool {
	if strings.EqualFold(l.get("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	switch exporter := l.get("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false
	case "otlp":
	case "":
		if l.get("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && l.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
			return false
		}
	default:
		l.check("OTEL_TRACES_EXPORTER", fmt.Errorf("%q must be otlp or none", exporter))
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := l.get(name); protocol == "http/protobuf" {
			break
		} else if protocol != "" {
			l.check(name, fmt.Errorf("%q must be http/protobuf, the only protocol that is supported", protocol))
		}
	}
	return true
}

// loadDataDir follows the XDG base directory specification, which says to ignore a relative
// $XDG_DATA_HOME.
func loadDataDir(l *envLoader, isRoot bool, home string) string {
	if dir := l.get("PARLEY_DATA_DIR"); dir != "" {
		return dir
	}
	if isRoot {
		return "/var/lib/parley"
	}
	if dir := l.get("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "parley")
	}
	if home == "" {
		l.check("PARLEY_DATA_DIR", errors.New("must be set if there is no home directory"))
		return ""
	}
	return filepath.Join(home, ".local", "share", "parley")
}

// defaultAnonymous returns the default of PARLEY_ANONYMOUS.
func defaultAnonymous(c config) string {
	if c.DatabaseURL != "" || c.Model.Name != "" {
		return "off"
	}
	return "on"
}

func parseTTL(text string) (time.Duration, error) {
	ttl, err := time.ParseDuration(text)
	if err != nil || ttl < time.Second {
		return 0, fmt.Errorf("%q must be a duration of at least 1s, such as 30m", text)
	}
	return ttl, nil
}

func parseDrain(text string) (time.Duration, error) {
	drain, err := time.ParseDuration(text)
	if err != nil || drain < 0 || drain > time.Hour {
		return 0, fmt.Errorf("%q must be a duration from 0s to 1h, such as 10s", text)
	}
	return drain, nil
}

func parseSwitch(text string) (bool, error) {
	if text != "on" && text != "off" {
		return false, fmt.Errorf("%q must be on or off", text)
	}
	return text == "on", nil
}

func parseAddr(addr string) (string, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", fmt.Errorf("%q must be host:port, such as :8080 or 127.0.0.1:8080", addr)
	}
	return addr, checkPort(port)
}

func checkPort(port string) error {
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("the port %q must be a number from 0 to 65535", port)
	}
	return nil
}

// parseDatabaseURL never repeats the URL, which may hold a password.
func parseDatabaseURL(databaseURL string) (string, error) {
	return databaseURL, store.CheckURL(databaseURL)
}

func parseRedisURL(redisURL string) (string, error) { return redisURL, realtime.CheckURL(redisURL) }

var bootstrapKey = regexp.MustCompile(`^[A-Za-z0-9_-]{4,64}\.[!-~]{16,}$`)

// parseBootstrapKey never repeats the key.
func parseBootstrapKey(key string) (string, error) {
	if !bootstrapKey.MatchString(key) {
		return "", errors.New("must be <prefix>.<secret> with a prefix of 4 to 64 letters, digits, - and _, " +
			"and a secret of at least 16 visible ASCII characters")
	}
	return key, nil
}

// parseSecretKey never repeats the keys. The error identifies a key by its position.
func parseSecretKey(list string) (string, error) {
	_, err := secret.Parse(list)
	return list, err
}

func parsePostgresBin(dir string) (string, error) {
	if info, err := os.Stat(filepath.Join(dir, "postgres")); err != nil || info.IsDir() {
		return "", fmt.Errorf("%q must be a directory with the program postgres", dir)
	}
	return dir, nil
}

// parseOrigins returns the origins as browsers send them.
func parseOrigins(list string) ([]string, error) {
	var origins, problems []string
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		parsed, err := origin.Parse(item)
		if err != nil {
			problems = append(problems, fmt.Sprintf("%q %v", item, err))
		} else if !slices.Contains(origins, parsed) {
			origins = append(origins, parsed)
		}
	}
	return origins, joinProblems(problems)
}

func parseLogLevel(name string) (slog.Level, error) {
	switch strings.ToLower(name) {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q must be debug, info, warn or error", name)
}
