package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"parley/internal/bot"
	"parley/internal/ratelimit"
	"parley/internal/realtime"
	"parley/internal/secret"
)

// config is all that the environment says: one field for each variable, with its
// default and what an empty one means. An empty variable is as good as none.
type config struct {
	// Addr is where to listen, host:port; without a host on all addresses.
	Addr string // PARLEY_ADDR, empty: :8080
	// DebugAddr is where profiles and metrics are served, host:port, for whoever reaches
	// it: a private address.
	DebugAddr string // PARLEY_DEBUG_ADDR, empty: nowhere
	// DataDir holds the private PostgreSQL, the bootstrap key and the secret key.
	DataDir string // PARLEY_DATA_DIR, empty: as root /var/lib/parley, else $XDG_DATA_HOME/parley or ~/.local/share/parley
	// DatabaseURL is the PostgreSQL to use, as a URL or as key=value pairs.
	DatabaseURL string // DATABASE_URL, empty: a private one in DataDir
	// RedisURL is the Redis or Valkey that joins the instances on one database, so that they work as one.
	RedisURL string // REDIS_URL, empty: none; this instance works for itself
	// BootstrapKey is the admin key that the first start creates, <prefix>.<secret>.
	BootstrapKey string // PARLEY_BOOTSTRAP_KEY, empty: generated
	// SecretKey is one or more keys of 32 bytes in base64, separated by commas, that encrypt what the database may not
	// tell, and sign client tokens. The first one encrypts and signs, all of them are known.
	SecretKey string // PARLEY_SECRET_KEY, empty: made and kept in DataDir; beside DATABASE_URL it must be set
	// Model is what answers for the first organization's default bot, from each start on.
	Model modelConfig
	// PostgresBin is the directory of the private PostgreSQL's programs.
	PostgresBin string // PARLEY_POSTGRES_BIN, empty: looked for in PATH and /usr/lib/postgresql
	// AllowedOrigins are the web sites whose pages may call the API, or "*" for all.
	AllowedOrigins []string // PARLEY_ALLOWED_ORIGINS, empty: none
	// RateLimits is how many requests of a class a user has per minute; 0: any number.
	RateLimits map[string]int // PARLEY_RATE_LIMITS, empty or a class left out: messages=60,history=100,list=30; 0 alone: none
	// ReplyLimits is how many replies are written at once: by this process in all, and of
	// one organization. The others wait for their turn. 0: any number.
	ReplyLimits map[string]int // PARLEY_REPLY_LIMITS, empty or a name left out: instance=512,organization=256
	// SocketLimits is how many WebSockets may be open at once: of a user, of an address,
	// and of the visitors from an address (0: any number), and how many events wait for
	// one before they are read from the database.
	SocketLimits map[string]int // PARLEY_SOCKET_LIMITS, empty or a name left out: user=100,address=1000,visitors=50,queue=64
	// SocketTimes is how often a WebSocket gets a ping, how long its client may take to
	// answer one and to accept a frame, and how long it may be silent (0: for ever).
	SocketTimes map[string]time.Duration // PARLEY_SOCKET_TIMES, empty or a name left out: ping=25s,pong=20s,write=10s,idle=0
	// AnonymousTTL is how long an anonymous visit lives without activity.
	AnonymousTTL time.Duration // PARLEY_ANONYMOUS_TTL, empty: 30m
	// Drain is how long a server that is told to stop goes on serving while /readyz says 503, for load balancers to see it.
	Drain time.Duration // PARLEY_DRAIN, empty: 0
	// SearchIndex keeps the index over the contents of all messages. Without it each search reads the messages.
	SearchIndex bool // PARLEY_SEARCH_INDEX, on or off; empty: on
	// Traces says whether traces are handed to a collector. Which one, and how many, the other variables of OpenTelemetry say, which its library reads.
	Traces bool // OTEL_TRACES_EXPORTER, otlp or none; empty: otlp where OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is set
	// LogLevel is the least grave of what is logged: debug, info, warn or error.
	LogLevel slog.Level // PARLEY_LOG_LEVEL, empty: info
}

// modelConfig is a model behind an OpenAI-compatible server; without a name there is none.
type modelConfig struct {
	Name    string // OPENAI_MODEL, empty: none; must be set with the others
	BaseURL string // OPENAI_BASE_URL, empty: https://api.openai.com/v1
	APIKey  string // OPENAI_API_KEY, empty: none is sent
}

// defaultRateLimits also says which classes there are.
var defaultRateLimits = map[string]int{"messages": 60, "history": 100, "list": 30}

// defaultReplyLimits also says which names there are.
var defaultReplyLimits = map[string]int{"instance": 512, "organization": 256}

// defaultSocketLimits and defaultSocketTimes also say which names there are.
var (
	defaultSocketLimits = map[string]int{"user": 100, "address": 1000, "visitors": 50, "queue": 64}
	defaultSocketTimes  = map[string]time.Duration{"ping": 25 * time.Second, "pong": 20 * time.Second, "write": 10 * time.Second, "idle": 0}
)

// loadConfig reads the variables by getenv. Its error has one line for each
// mistake, and names the variable.
func loadConfig(getenv func(string) string, isRoot bool, home string) (config, error) {
	c := config{
		Addr:         cmp.Or(getenv("PARLEY_ADDR"), ":8080"),
		DebugAddr:    getenv("PARLEY_DEBUG_ADDR"),
		DatabaseURL:  getenv("DATABASE_URL"),
		RedisURL:     getenv("REDIS_URL"),
		BootstrapKey: getenv("PARLEY_BOOTSTRAP_KEY"),
		SecretKey:    getenv("PARLEY_SECRET_KEY"),
		PostgresBin:  getenv("PARLEY_POSTGRES_BIN"),
	}
	var mistakes []error
	check := func(variable string, err error) {
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s: %w", variable, err))
		}
	}
	var err error
	check("PARLEY_ADDR", checkAddr(c.Addr))
	check("PARLEY_DEBUG_ADDR", checkDebugAddr(c.DebugAddr))
	c.DataDir, err = dataDir(getenv, isRoot, home)
	check("PARLEY_DATA_DIR", err)
	check("DATABASE_URL", checkDatabaseURL(c.DatabaseURL))
	check("REDIS_URL", checkRedisURL(c.RedisURL))
	check("PARLEY_BOOTSTRAP_KEY", checkBootstrapKey(c.BootstrapKey))
	check("PARLEY_SECRET_KEY", checkSecretKey(c.SecretKey))
	c.Model = loadModel(getenv, check)
	check("PARLEY_POSTGRES_BIN", checkPostgresBin(c.PostgresBin))
	c.AllowedOrigins, err = parseOrigins(getenv("PARLEY_ALLOWED_ORIGINS"))
	check("PARLEY_ALLOWED_ORIGINS", err)
	c.RateLimits, err = parseRateLimits(getenv("PARLEY_RATE_LIMITS"))
	check("PARLEY_RATE_LIMITS", err)
	c.ReplyLimits, err = parseReplyLimits(getenv("PARLEY_REPLY_LIMITS"))
	check("PARLEY_REPLY_LIMITS", err)
	c.SocketLimits, err = parseSocketLimits(getenv("PARLEY_SOCKET_LIMITS"))
	check("PARLEY_SOCKET_LIMITS", err)
	c.SocketTimes, err = parseSocketTimes(getenv("PARLEY_SOCKET_TIMES"))
	check("PARLEY_SOCKET_TIMES", err)
	c.AnonymousTTL, err = parseTTL(cmp.Or(getenv("PARLEY_ANONYMOUS_TTL"), "30m"))
	check("PARLEY_ANONYMOUS_TTL", err)
	c.Drain, err = parseDrain(cmp.Or(getenv("PARLEY_DRAIN"), "0s"))
	check("PARLEY_DRAIN", err)
	c.SearchIndex, err = parseSwitch(cmp.Or(getenv("PARLEY_SEARCH_INDEX"), "on"))
	check("PARLEY_SEARCH_INDEX", err)
	c.Traces = loadTraces(getenv, check)
	c.LogLevel, err = parseLogLevel(getenv("PARLEY_LOG_LEVEL"))
	check("PARLEY_LOG_LEVEL", err)
	return c, errors.Join(mistakes...)
}

func loadModel(getenv func(string) string, check func(variable string, err error)) modelConfig {
	m := modelConfig{Name: getenv("OPENAI_MODEL"), BaseURL: getenv("OPENAI_BASE_URL"), APIKey: getenv("OPENAI_API_KEY")}
	if m == (modelConfig{}) {
		return m
	}
	if m.Name == "" {
		check("OPENAI_MODEL", errors.New("it must be set with OPENAI_BASE_URL and OPENAI_API_KEY"))
	}
	m.BaseURL = cmp.Or(m.BaseURL, "https://api.openai.com/v1")
	if err := bot.CheckBaseURL(m.BaseURL); err != nil {
		check("OPENAI_BASE_URL", fmt.Errorf("it %w", err)) // which may hold a password and is not repeated
	}
	if strings.ContainsFunc(m.APIKey, func(r rune) bool { return r < '!' || r > '~' }) {
		check("OPENAI_API_KEY", errors.New("it has characters that are not visible ASCII"))
	}
	return m
}

// refusalsPerMinute is how many requests without a valid key an address may make
// before it is told to wait.
const refusalsPerMinute = 1000

// limits are the limiter's classes: those of the configuration, and the guard
// against floods of requests without a valid key.
func (c config) limits() ratelimit.Limits {
	return ratelimit.Limits{
		Messages: c.RateLimits["messages"],
		History:  c.RateLimits["history"],
		List:     c.RateLimits["list"],
		Refusals: refusalsPerMinute,
	}
}

// loadTraces tells whether traces are wanted. The variables are OpenTelemetry's.
func loadTraces(getenv func(string) string, check func(variable string, err error)) bool {
	if strings.EqualFold(getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	switch exporter := getenv("OTEL_TRACES_EXPORTER"); exporter {
	case "none":
		return false
	case "otlp":
	case "":
		if getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
			return false
		}
	default:
		check("OTEL_TRACES_EXPORTER", fmt.Errorf("%q is neither otlp nor none", exporter))
	}
	for _, variable := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if protocol := getenv(variable); protocol == "http/protobuf" {
			break
		} else if protocol != "" {
			check(variable, fmt.Errorf("%q is not http/protobuf, which is how traces are sent", protocol))
		}
	}
	return true
}

func parseTTL(text string) (time.Duration, error) {
	ttl, err := time.ParseDuration(text)
	if err != nil || ttl < time.Second {
		return 0, fmt.Errorf("%q is not a duration of at least a second, such as 30m", text)
	}
	return ttl, nil
}

func parseDrain(text string) (time.Duration, error) {
	drain, err := time.ParseDuration(text)
	if err != nil || drain < 0 || drain > time.Hour {
		return 0, fmt.Errorf("%q is not a duration from 0s to 1h, such as 10s", text)
	}
	return drain, nil
}

func parseSwitch(text string) (bool, error) {
	if text != "on" && text != "off" {
		return false, fmt.Errorf("%q is neither on nor off", text)
	}
	return text == "on", nil
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not host:port, such as :8080 or 127.0.0.1:8080", addr)
	}
	return checkPort(port)
}

func checkPort(port string) error {
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("the port %q is not a number from 0 to 65535", port)
	}
	return nil
}

// dataDir follows the XDG base directory specification, which says to ignore a
// relative $XDG_DATA_HOME.
func dataDir(getenv func(string) string, isRoot bool, home string) (string, error) {
	if dir := getenv("PARLEY_DATA_DIR"); dir != "" {
		return dir, nil
	}
	if isRoot {
		return "/var/lib/parley", nil
	}
	if dir := getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "parley"), nil
	}
	if home == "" {
		return "", errors.New("it must be set, since there is no home directory to be its default")
	}
	return filepath.Join(home, ".local", "share", "parley"), nil
}

// checkDatabaseURL keeps the address to itself: it may hold a password, which the
// parser's own error may repeat.
func checkDatabaseURL(address string) error {
	if address == "" {
		return nil
	}
	if _, err := pgxpool.ParseConfig(address); err != nil {
		return errors.New("it is no address of PostgreSQL, such as postgres://user:password@host:5432/database")
	}
	return nil
}

func checkRedisURL(address string) error {
	if address == "" {
		return nil
	}
	return realtime.CheckURL(address)
}

var bootstrapKey = regexp.MustCompile(`^[A-Za-z0-9_-]{4,64}\.[!-~]{16,}$`)

// checkBootstrapKey does not repeat the key either.
func checkBootstrapKey(key string) error {
	if key == "" || bootstrapKey.MatchString(key) {
		return nil
	}
	return errors.New("it is not <prefix>.<secret> with a prefix of 4 to 64 letters, digits, - and _, " +
		"and a secret of at least 16 visible ASCII characters")
}

// checkSecretKey does not repeat the keys: the parser's error names them by their number.
func checkSecretKey(list string) error {
	if list == "" {
		return nil
	}
	_, err := secret.Parse(list)
	return err
}

func checkPostgresBin(dir string) error {
	if dir == "" {
		return nil
	}
	if info, err := os.Stat(filepath.Join(dir, "postgres")); err != nil || info.IsDir() {
		return fmt.Errorf("there is no program postgres in %q", dir)
	}
	return nil
}

// parseOrigins returns the origins as browsers write them: scheme and host in
// lower case, without the scheme's own port.
func parseOrigins(list string) ([]string, error) {
	var origins []string
	var mistakes []string
	for item := range strings.SplitSeq(list, ",") {
		item = strings.TrimSpace(item)
		switch origin, ok := parseOrigin(item); {
		case item == "": // nothing, or a comma too many
		case !ok:
			mistakes = append(mistakes, fmt.Sprintf("%q is neither an origin, such as https://www.example.com, nor *", item))
		case !slices.Contains(origins, origin):
			origins = append(origins, origin)
		}
	}
	return origins, joined(mistakes)
}

func parseOrigin(item string) (string, bool) {
	if item == "*" {
		return item, true
	}
	u, err := url.Parse(item)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || strings.Contains(u.Host, "*") {
		return "", false
	}
	// Nothing but scheme and host may be there, not even an empty path or query.
	if !strings.EqualFold(item, u.Scheme+"://"+u.Host) {
		return "", false
	}
	port := u.Port()
	if port != "" && checkPort(port) != nil || port == "" && strings.HasSuffix(u.Host, ":") {
		return "", false
	}
	host := u.Host
	if u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme + "://" + strings.ToLower(host), true
}

func parseLogLevel(name string) (slog.Level, error) {
	switch strings.ToLower(name) {
	case "debug":
		return slog.LevelDebug, nil
	case "info", "":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q is none of debug, info, warn and error", name)
}

// joined makes one line of the mistakes in one variable.
func joined(mistakes []string) error {
	if len(mistakes) == 0 {
		return nil
	}
	return errors.New(strings.Join(mistakes, "; "))
}
