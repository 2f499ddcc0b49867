package main

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"parley/internal/clientaddr"
	"parley/internal/egress"
	"parley/internal/ratelimit"
	"parley/internal/visit"
	"parley/internal/wsapi"
)

func TestEmptyEnvironmentYieldsDefaults(t *testing.T) {
	t.Parallel()
	got, err := loadConfig(environment{}, false, "/home/alex")
	if err != nil {
		t.Fatal(err)
	}
	want := config{
		Addr:          ":8080",
		DataDir:       "/home/alex/.local/share/parley",
		ModelNetworks: egress.Private(),
		RateLimits:    ratelimit.Limits{Messages: 60, History: 100, List: 30, Reads: 6000, Writes: 1200, Reports: 60, Refusals: 1000},
		RateCeilings:  ratelimit.Limits{Messages: 6000, History: 10_000, List: 3000, Reads: 60_000, Writes: 12_000, Reports: 600},
		Replies:       replyLimits{Instance: 512, Organization: 256},
		Messages:      messageLimits{Characters: 100_000, Anonymous: 4000},
		Sockets:       defaultSockets,
		SocketQueue:   64,
		Anonymous:     true,
		Visits:        defaultVisits,
		AnonymousTTL:  30 * time.Minute,
		SearchIndex:   true,
		LogLevel:      slog.LevelInfo,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

var defaultSockets = wsapi.Limits{
	PerUser: 100, PerAddress: 1000, Visitors: 50,
	PingInterval: 25 * time.Second, PongTimeout: 20 * time.Second, WriteTimeout: 10 * time.Second,
}

var defaultVisits = visit.Limits{Visits: 10_000, VisitBytes: 256 << 10, Bytes: 64 << 20}

func TestAnonymousVisitorsAreServedByDefaultOnlyWhereTheyCostNothing(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		env  environment
		want bool
	}{
		"private PostgreSQL":       {environment{}, true},
		"shared database":          {environment{"DATABASE_URL": "postgres://db/parley"}, false},
		"model":                    {environment{"OPENAI_MODEL": "gpt-4o"}, false},
		"shared database, named":   {environment{"DATABASE_URL": "postgres://db/parley", "PARLEY_ANONYMOUS": "on"}, true},
		"private PostgreSQL, off":  {environment{"PARLEY_ANONYMOUS": "off"}, false},
		"model and shared, set on": {environment{"DATABASE_URL": "postgres://db/parley", "OPENAI_MODEL": "gpt-4o", "PARLEY_ANONYMOUS": "on"}, true},
	} {
		got, err := loadConfig(test.env, false, "/home/alex")
		if err != nil || got.Anonymous != test.want {
			t.Errorf("%s: got %v, %v, want %v", name, got.Anonymous, err, test.want)
		}
	}
}

// sockets returns the default limits of sockets after a change.
func sockets(change func(*wsapi.Limits)) wsapi.Limits {
	limits := defaultSockets
	change(&limits)
	return limits
}

const exampleKey = "boot.0123456789abcdef"

// validVariables are valid variables, each with the field that it sets and the expected value.
var validVariables = map[string]struct {
	variable, value string
	field           func(config) any
	want            any
}{
	"address with host":                       {"PARLEY_ADDR", "127.0.0.1:0", addr, "127.0.0.1:0"},
	"IPv6 address":                            {"PARLEY_ADDR", "[::1]:8080", addr, "[::1]:8080"},
	"debug address on loopback":               {"PARLEY_DEBUG_ADDR", "127.0.0.1:6060", debugAddr, "127.0.0.1:6060"},
	"debug address on localhost":              {"PARLEY_DEBUG_ADDR", "LocalHost:0", debugAddr, "LocalHost:0"},
	"debug address in a private network":      {"PARLEY_DEBUG_ADDR", "10.1.2.3:6060", debugAddr, "10.1.2.3:6060"},
	"debug address in a private IPv6 network": {"PARLEY_DEBUG_ADDR", "[fd12::1]:6060", debugAddr, "[fd12::1]:6060"},
	"link-local debug address":                {"PARLEY_DEBUG_ADDR", "[fe80::1%eth0]:6060", debugAddr, "[fe80::1%eth0]:6060"},
	"IPv4-mapped debug address":               {"PARLEY_DEBUG_ADDR", "[::ffff:192.168.0.1]:6060", debugAddr, "[::ffff:192.168.0.1]:6060"},
	"data directory":                          {"PARLEY_DATA_DIR", "/data", dir, "/data"},
	"XDG data directory":                      {"XDG_DATA_HOME", "/xdg", dir, "/xdg/parley"},
	"relative XDG data directory is ignored":  {"XDG_DATA_HOME", "xdg", dir, "/home/alex/.local/share/parley"},
	"database URL":                            {"DATABASE_URL", "postgres://u:p@db:5433/parley", database, "postgres://u:p@db:5433/parley"},
	"database key-value string":               {"DATABASE_URL", "host=db user=u", database, "host=db user=u"},
	"Redis URL":                               {"REDIS_URL", "redis://u:p@cache:6380/2", redisURL, "redis://u:p@cache:6380/2"},
	"Redis URL with TLS":                      {"REDIS_URL", "rediss://cache", redisURL, "rediss://cache"},
	"bootstrap key":                           {"PARLEY_BOOTSTRAP_KEY", exampleKey, givenKey, exampleKey},
	"bootstrap key with dots":                 {"PARLEY_BOOTSTRAP_KEY", exampleKey + ".more", givenKey, exampleKey + ".more"},
	"secret key":                              {"PARLEY_SECRET_KEY", sharedSecretKey, func(c config) any { return c.SecretKey }, sharedSecretKey},
	"all origins":                             {"PARLEY_ALLOWED_ORIGINS", "*", origins, []string{"*"}},
	"several origins": {
		"PARLEY_ALLOWED_ORIGINS", "https://a.example, http://localhost:3000,https://[::1]:8443,", origins,
		[]string{"https://a.example", "http://localhost:3000", "https://[::1]:8443"},
	},
	"origins are normalized": {
		"PARLEY_ALLOWED_ORIGINS", "HTTPS://A.Example:443,https://a.example/,http://b.example:80,https://例え.jp,null", origins,
		[]string{"https://a.example", "http://b.example", "https://xn--r8jz45g.jp", "null"},
	},
	"one rate limit": {
		"PARLEY_RATE_LIMITS", "history=7", limits, ratelimit.Limits{Messages: 60, History: 7, List: 30, Reads: 6000, Writes: 1200, Reports: 60, Refusals: 1000},
	},
	"rate limits of 0": {
		"PARLEY_RATE_LIMITS", "messages = 0, history=0,list=0,reads=0,writes=0,reports=0", limits, ratelimit.Limits{Refusals: 1000},
	},
	"socket limit":       {"PARLEY_SOCKET_LIMITS", "user=9, visitors=0", func(c config) any { return c.Sockets }, sockets(func(l *wsapi.Limits) { l.PerUser, l.Visitors = 9, 0 })},
	"socket timeout":     {"PARLEY_SOCKET_TIMES", "idle=1h,ping=5s", func(c config) any { return c.Sockets }, sockets(func(l *wsapi.Limits) { l.IdleTimeout, l.PingInterval = time.Hour, 5*time.Second })},
	"socket queue":       {"PARLEY_SOCKET_LIMITS", "queue=9", func(c config) any { return c.SocketQueue }, 9},
	"message limit":      {"PARLEY_MESSAGE_LIMITS", "anonymous=500", func(c config) any { return c.Messages }, messageLimits{Characters: 100_000, Anonymous: 500}},
	"reply limit":        {"PARLEY_REPLY_LIMITS", "organization=9", func(c config) any { return c.Replies }, replyLimits{Instance: 512, Organization: 9}},
	"no rate limits":     {"PARLEY_RATE_LIMITS", "0", limits, ratelimit.Limits{Refusals: 1000}},
	"anonymous TTL":      {"PARLEY_ANONYMOUS_TTL", "90s", func(c config) any { return c.AnonymousTTL }, 90 * time.Second},
	"anonymous limits":   {"PARLEY_ANONYMOUS_LIMITS", "visits=5,bytes=0", func(c config) any { return c.Visits }, visit.Limits{Visits: 5, VisitBytes: 256 << 10}},
	"trusted proxies":    {"PARLEY_TRUSTED_PROXIES", "10.0.0.1", func(c config) any { return c.TrustedProxies }, clientaddr.Proxies{netip.MustParsePrefix("10.0.0.1/32")}},
	"model networks":     {"PARLEY_MODEL_NETWORKS", "10.1.2.3/8, ::1", func(c config) any { return c.ModelNetworks }, egress.Networks{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("::1/128")}},
	"private database":   {"DATABASE_URL", "", func(c config) any { return c.ModelNetworks }, egress.Private()},
	"shared database":    {"DATABASE_URL", "postgres://db/parley", func(c config) any { return c.ModelNetworks }, egress.Networks(nil)},
	"drain":              {"PARLEY_DRAIN", "15s", func(c config) any { return c.Drain }, 15 * time.Second},
	"traces by endpoint": {"OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318", func(c config) any { return c.Traces }, true},
	"traces by exporter": {"OTEL_TRACES_EXPORTER", "otlp", func(c config) any { return c.Traces }, true},
	"no traces":          {"OTEL_TRACES_EXPORTER", "none", func(c config) any { return c.Traces }, false},
	"no search index":    {"PARLEY_SEARCH_INDEX", "off", func(c config) any { return c.SearchIndex }, false},
	"search index":       {"PARLEY_SEARCH_INDEX", "on", func(c config) any { return c.SearchIndex }, true},
	"debug level":        {"PARLEY_LOG_LEVEL", "debug", level, slog.LevelDebug},
	"warn level":         {"PARLEY_LOG_LEVEL", "WARN", level, slog.LevelWarn},
	"error level":        {"PARLEY_LOG_LEVEL", "error", level, slog.LevelError},
	"info level":         {"PARLEY_LOG_LEVEL", "info", level, slog.LevelInfo},
}

func TestVariablesAreParsed(t *testing.T) {
	t.Parallel()
	for name, c := range validVariables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := loadConfig(environment{c.variable: c.value}, false, "/home/alex")
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(c.field(got), c.want) {
				t.Errorf("%s=%s: got %v, want %v", c.variable, c.value, c.field(got), c.want)
			}
		})
	}
}

func TestPostgresBinIsParsed(t *testing.T) {
	t.Parallel()
	bin := postgresBin(t)
	got, err := loadConfig(environment{"PARLEY_POSTGRES_BIN": bin}, false, "/home/alex")
	if err != nil || got.PostgresBin != bin {
		t.Errorf("got %q, %v, want %q", got.PostgresBin, err, bin)
	}
}

// invalidVariables are invalid variables, each with a part of the expected error.
var invalidVariables = []struct{ variable, value, says string }{
	{"PARLEY_ADDR", "8080", "host:port"},
	{"PARLEY_SEARCH_INDEX", "yes", "must be on or off"},
	{"OTEL_TRACES_EXPORTER", "console", "must be otlp or none"},
	{"PARLEY_ANONYMOUS", "yes", "must be on or off"},
	{"PARLEY_ANONYMOUS_LIMITS", "visits=-1", "must be a number"},
	{"PARLEY_TRUSTED_PROXIES", "10.0.0.0/99", "CIDR block"},
	{"PARLEY_DRAIN", "10", "must be a duration"},
	{"PARLEY_DRAIN", "-1s", "from 0s to 1h"},
	{"PARLEY_DRAIN", "61m", "from 0s to 1h"},
	{"PARLEY_DEBUG_ADDR", "6060", "host:port"},
	{"PARLEY_DEBUG_ADDR", ":6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "*:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "0.0.0.0:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "[::]:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "8.8.8.8:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "172.32.0.1:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "100.64.0.1:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "[2001:db8::1]:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "[::ffff:8.8.8.8]:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "224.0.0.1:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "127.1:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "metrics.internal:6060", "private address"},
	{"PARLEY_DEBUG_ADDR", "localhost:http", `"http"`},
	{"PARLEY_ADDR", ":http", `"http"`},
	{"PARLEY_ADDR", ":65536", `"65536"`},
	{"PARLEY_ADDR", "localhost:", `""`},
	{"DATABASE_URL", "postgres://u:hush@db:none/parley", "PostgreSQL URL"},
	{"DATABASE_URL", "mysql", "PostgreSQL URL"},
	{"PARLEY_MODEL_NETWORKS", "intranet", "CIDR block"},
	{"REDIS_URL", "cache:6379", "Redis URL"},
	{"REDIS_URL", "http://cache", "Redis URL"},
	{"REDIS_URL", "redis://u:hush@cache/first", "Redis URL"},
	{"PARLEY_BOOTSTRAP_KEY", "hushhushhushhushhush", "<prefix>.<secret>"},
	{"PARLEY_BOOTSTRAP_KEY", "abc.0123456789abcdef", "<prefix>.<secret>"},
	{"PARLEY_BOOTSTRAP_KEY", "boot.0123456789abcde", "<prefix>.<secret>"},
	{"PARLEY_BOOTSTRAP_KEY", "bo/ot.0123456789abcdef", "<prefix>.<secret>"},
	{"PARLEY_BOOTSTRAP_KEY", "boot.0123456789 abcdef", "<prefix>.<secret>"},
	{"PARLEY_BOOTSTRAP_KEY", "boot.0123456789abcdé", "<prefix>.<secret>"},
	{"PARLEY_BOOTSTRAP_KEY", "boot.0123456789abcdef\n", "<prefix>.<secret>"},
	{"PARLEY_SECRET_KEY", "hushhushhushhush", "32 bytes in base64"},
	{"PARLEY_SECRET_KEY", sharedSecretKey + ",hush", "key 2"},
	{"PARLEY_POSTGRES_BIN", "/nowhere", "with the program postgres"},
	{"PARLEY_ALLOWED_ORIGINS", "www.example.com", "must be an origin"},
	{"PARLEY_ALLOWED_ORIGINS", "https://a.example/chat", "must not have a path"},
	{"PARLEY_ALLOWED_ORIGINS", "https://b.*.example,null", `"https://b.*.example" may have * only as`},
	{"PARLEY_RATE_LIMITS", "records=5", `unknown class "records"`},
	{"PARLEY_RATE_LIMITS", "=5", `unknown class ""`},
	{"PARLEY_MESSAGE_LIMITS", "anonymous=0", "from 1 to 100000"},
	{"PARLEY_MESSAGE_LIMITS", "characters=100001", "from 1 to 100000"},
	{"PARLEY_REPLY_LIMITS", "messages=5", "must be one of instance, organization"},
	{"PARLEY_REPLY_LIMITS", "instance=some", `"some"`},
	{"PARLEY_SOCKET_LIMITS", "sockets=5", "must be one of address, queue, user, visitors"},
	{"PARLEY_SOCKET_LIMITS", "queue=0", "at least 1"},
	{"PARLEY_SOCKET_TIMES", "ping=0", `"0"`},
	{"PARLEY_SOCKET_TIMES", "idle=5", `"5"`},
	{"PARLEY_SOCKET_TIMES", "write=1ms", "at least 1s"},
	{"PARLEY_RATE_LIMITS", "list=-1", `"-1"`},
	{"PARLEY_RATE_LIMITS", "list=", `""`},
	{"PARLEY_RATE_LIMITS", "list", `""`},
	{"PARLEY_RATE_LIMITS", "list=many", `"many"`},
	{"PARLEY_RATE_LIMITS", "list=1,list=2", "twice"},
	{"PARLEY_LOG_LEVEL", "loud", `"loud"`},
}

func TestInvalidVariablesAreRefused(t *testing.T) {
	t.Parallel()
	for _, c := range invalidVariables {
		t.Run(c.variable+"="+c.value, func(t *testing.T) {
			t.Parallel()
			_, err := loadConfig(environment{c.variable: c.value}, false, "/home/alex")
			if err == nil {
				t.Fatal("the configuration was accepted")
			}
			if message := err.Error(); !strings.HasPrefix(message, c.variable+": ") || !strings.Contains(message, c.says) {
				t.Errorf("the error must name the variable and contain %s: %s", c.says, message)
			}
			if strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "0123456789") {
				t.Errorf("the error contains a secret: %v", err)
			}
		})
	}
}

func TestAllInvalidVariablesAreReportedTogether(t *testing.T) {
	t.Parallel()
	_, err := loadConfig(environment{
		"PARLEY_ADDR":            "nowhere",
		"DATABASE_URL":           "postgres://db:none/",
		"PARLEY_BOOTSTRAP_KEY":   "short",
		"PARLEY_SECRET_KEY":      "short",
		"PARLEY_POSTGRES_BIN":    "/nowhere",
		"PARLEY_ALLOWED_ORIGINS": "here,there",
		"PARLEY_RATE_LIMITS":     "list=-1,none=1",
		"PARLEY_LOG_LEVEL":       "loud",
	}, false, "")
	if err == nil {
		t.Fatal("the configuration was accepted")
	}
	want := []string{
		"PARLEY_ADDR", "PARLEY_DATA_DIR", "DATABASE_URL", "PARLEY_BOOTSTRAP_KEY", "PARLEY_SECRET_KEY",
		"PARLEY_POSTGRES_BIN", "PARLEY_ALLOWED_ORIGINS", "PARLEY_RATE_LIMITS", "PARLEY_LOG_LEVEL",
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != len(want) {
		t.Fatalf("the error has %d lines, want %d:\n%v", len(lines), len(want), err)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, want[i]+": ") {
			t.Errorf("line %d must be about %s: %s", i+1, want[i], line)
		}
	}
	for _, part := range []string{`"here"`, `"there"`, `"-1"`, `"none"`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not contain %s:\n%v", part, err)
		}
	}
}

func TestRootUsesSystemDataDirectory(t *testing.T) {
	t.Parallel()
	got, err := loadConfig(environment{"XDG_DATA_HOME": "/xdg"}, true, "")
	if err != nil {
		t.Fatal(err)
	}
	if got.DataDir != "/var/lib/parley" {
		t.Errorf("the data directory is %s", got.DataDir)
	}
}

func TestUnknownVariablesAreReported(t *testing.T) {
	t.Parallel()
	got, err := loadConfig(environment{
		"PARLEY_SHORTCUTS": "on", "PARLEY_LOGLEVEL": "debug", "PARLEY_LOG_LEVEL": "warn", "PARLEY_RATE_LIMITS": "0", "PARLEY_SOCKET_TIMES": "",
		"PARLEY_KEY": "key", "PATH": "/bin", "DATABASE_URI": "x",
	}, true, "")
	if want := []string{"PARLEY_LOGLEVEL", "PARLEY_SHORTCUTS"}; err != nil || !slices.Equal(got.UnknownVariables, want) {
		t.Errorf("got %v, %v; want %v", got.UnknownVariables, err, want)
	}
}

func addr(c config) any      { return c.Addr }
func debugAddr(c config) any { return c.DebugAddr }
func dir(c config) any       { return c.DataDir }
func database(c config) any  { return c.DatabaseURL }
func redisURL(c config) any  { return c.RedisURL }
func givenKey(c config) any  { return c.BootstrapKey }
func origins(c config) any   { return c.AllowedOrigins }
func limits(c config) any    { return c.RateLimits }
func level(c config) any     { return c.LogLevel }

func postgresBin(t *testing.T) string {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "postgres"), nil, 0o700); err != nil {
		t.Fatal(err)
	}
	return bin
}
