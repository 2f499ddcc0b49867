package llm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"parley/internal/apperr"
)

// report is the error that a server returns for a request.
type report struct {
	status           int // of the response, or the equivalent of an error within a stream; 0 if it is unknown
	kind, code       string
	param            string // the field of the request that the error concerns, as the server names it
	text             string // all of it in lower case. It may quote the user, so it is never logged
	isWithinResponse bool
	retryAfter       time.Duration
}

// reportedError is an error that the server sent instead of a reply, or in the middle of it.
type reportedError struct{ report }

func (e reportedError) Error() string { return "the server reported an error: " + e.codes() }

// codes returns the type and the code of the error, for the log. The error's message is left out,
// because it may quote the user.
func (r report) codes() string {
	return fmt.Sprintf("type %s, code %s", orDash(r.kind), orDash(r.code))
}

func orDash(code string) string {
	if code == "" {
		return "-"
	}
	return code
}

// newReport reads an error in any of the formats that servers use. The status is 0 for an error
// within a response.
func newReport(status int, body []byte) report {
	r := report{status: status, text: strings.ToLower(string(body)), isWithinResponse: status == 0}
	raw := json.RawMessage(body)
	if list := decode[[]json.RawMessage](raw); len(list) > 0 {
		raw = list[0]
	}
	fields := decode[map[string]json.RawMessage](raw)
	if inner := decode[map[string]json.RawMessage](fields["error"]); len(inner) > 0 {
		fields = inner
	}
	r.kind, r.code = codeOf(fields["type"]), codeOf(fields["code"])
	if r.kind == "" {
		r.kind = codeOf(fields["status"])
	}
	r.param = decode[string](fields["param"])
	if match := retryIn.FindStringSubmatch(r.text); match != nil {
		r.retryAfter = parseDelay(match[1])
	}
	if r.isWithinResponse {
		r.status = r.statusWithin()
	}
	return r
}

// retryIn matches where a message says how long to wait.
var retryIn = regexp.MustCompile(`(?:"retrydelay"\s*:\s*"|(?:try again|retry) (?:in|after) )((?:[0-9.]+(?:ms|m|s))+)`)

// codeOf returns a code, or an empty string if the value does not look like one.
func codeOf(raw json.RawMessage) string {
	code := strings.Trim(string(raw), `"`)
	if code == "null" || len(code) > 64 || strings.IndexFunc(code, isNotCode) >= 0 {
		return ""
	}
	return code
}

func isNotCode(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-' && r != '.'
}

// statusWithin returns the HTTP status that corresponds to an error reported within a response.
func (r report) statusWithin() int {
	for _, code := range []string{r.code, r.kind} {
		if status, err := strconv.Atoi(code); err == nil && status >= 300 && status < 600 {
			return status
		}
	}
	codes := strings.ToLower(r.kind + " " + r.code)
	for _, known := range []struct {
		part   string
		status int
	}{
		{"rate_limit", http.StatusTooManyRequests},
		{"authentication", http.StatusUnauthorized},
		{"invalid_api_key", http.StatusUnauthorized},
		{"permission", http.StatusForbidden},
		{"overloaded", http.StatusServiceUnavailable},
		{"unavailable", http.StatusServiceUnavailable},
		{"server_error", http.StatusInternalServerError},
		{"invalid_request", http.StatusBadRequest},
		{"not_found", http.StatusNotFound},
	} {
		if strings.Contains(codes, known.part) {
			return known.status
		}
	}
	return 0
}

var (
	overflowCodes = regexp.MustCompile(`exceed_context_size|context_length_exceeded|context_window_exceeded|string_above_max_length`)
	overflowWords = regexp.MustCompile(`context[ _-]?(length|window|size)|maximum context|(prompt|input|request|conversation|messages?) (is|are|was|were) too (long|large)|` +
		`too many (input |prompt )?tokens|request too large|reduce the length|max(imum)?[ _](input|prompt|model|sequence)[ _](length|len|tokens)|` +
		`(input|prompt)[^.]{0,40} tokens?[^.]{0,40} (exceed|greater|longer|larger)|(input|prompt|token)[^.]{0,60} exceed[^.]{0,60} (limit|maximum|length|allowed|tokens)|` +
		`max_new_tokens.{0,3} must be <=|range of input length|longest allowed|输入.{0,20}(过长|超)`)
	quotaCodes    = regexp.MustCompile(`insufficient_(quota|balance|credits|funds)|billing_hard_limit_reached|billing_not_active|arrearage`)
	quotaWords    = regexp.MustCompile(`insufficient (account )?(balance|credits?|quota|funds)|exceeded your current quota|credit balance is too low|out of credits|余额不足`)
	keyWords      = regexp.MustCompile(`invalid_api_key|(invalid|incorrect) api key|api key (is )?(not valid|invalid|missing|expired)`)
	filterWords   = regexp.MustCompile(`content_filter|content management policy|content_policy_violation|data_inspection_failed|content filter`)
	modelWords    = regexp.MustCompile(`model_not_found|model_not_exist|(model|deployment)\b[^.]{0,120}\b(not found|does not exist|not exist|is not available)|unknown model|no such model|invalid model`)
	maxTokenWords = regexp.MustCompile(`"param"\s*:\s*"max_(completion_)?tokens"`)
)

// isOverflow reports whether the request was too long for the model. A rate limit also speaks of
// tokens.
func (r report) isOverflow() bool {
	switch {
	case maxTokenWords.MatchString(r.text):
		return false
	case overflowCodes.MatchString(r.text):
		return true
	case r.status == http.StatusTooManyRequests, r.status == http.StatusUnauthorized, r.status == http.StatusForbidden, r.status > 500:
		return false
	}
	return r.status == http.StatusRequestEntityTooLarge || overflowWords.MatchString(r.text)
}

func (r report) isQuota() bool {
	switch r.status {
	case http.StatusPaymentRequired:
		return true
	case 0, http.StatusBadRequest, http.StatusForbidden, http.StatusTooManyRequests:
		return quotaCodes.MatchString(r.text) || quotaWords.MatchString(r.text) && r.retryAfter == 0
	}
	return false
}

// errTooLongForModel is the error of a request that is too long even without history and knowledge.
const tooLongForModel = "The message is too long for the chatbot's model, even without the conversation before it."

// error returns the error of a request that a server refused. Only server errors count as failures of the server: a
// wrong API key or model concerns one chatbot.
func (r report) error(sent shape, cause error) *callError {
	status := r.status
	var e *callError
	adapted, canAdapt := sent.adapt(r)
	switch {
	case r.isOverflow():
		e = newCallError("overflow", cause, tooLongForModel)
		e.apiErr.Kind, e.apiErr.Code, e.isOverflow = apperr.TooLarge, "context_length_exceeded", true
	case r.isQuota():
		e = newCallError("quota", cause, "The quota or the credit of the chatbot's account on the model server is used up.")
		e.apiErr.Permanent = true
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusBadRequest && keyWords.MatchString(r.text):
		e = newCallError("unauthorized", cause, "The model server rejected the chatbot's API key.")
		e.apiErr.Permanent = true
	case canAdapt:
		e = newCallError("refused", cause, "The model server rejected the request.")
		e.apiErr.Permanent, e.adapted = true, &adapted
	case filterWords.MatchString(r.text) && status < 500:
		e = newCallError("filtered", cause, "The content filter of the model server rejected the message.")
		e.apiErr.Permanent = true
	case status == http.StatusNotFound, status < 500 && modelWords.MatchString(r.text):
		e = newCallError("unknown", cause, "The model server does not have the chatbot's model, or the base URL is wrong.")
		e.apiErr.Permanent = true
	case status == http.StatusTooManyRequests:
		e = newCallError("rate_limited", cause, "The model server accepts no more requests at the moment.")
		e.isTransient = true
	case status >= 500 && status != http.StatusNotImplemented:
		e = newCallError("failed", cause, "The model server failed.")
		e.isTransient = true
	case status == http.StatusRequestTimeout, status == http.StatusConflict, status == http.StatusTooEarly:
		e = newCallError("failed", cause, "The model server failed.")
		e.isTransient = true
	case status == 0:
		e = newCallError("broken_off", cause, "The model server reported an error.")
	case status >= 300 && status < 400:
		e = newCallError("redirected", cause, "The model server redirects to another server, which is not followed.")
		e.apiErr.Permanent = true
	default:
		e = newCallError("refused", cause, "The model server rejected the request.")
		e.apiErr.Permanent = true
	}
	if status != 0 && (status < 500 || status == http.StatusNotImplemented || canAdapt || e.isOverflow) {
		e.shows = healthy
	}
	e.retryAfter = r.retryAfter
	if e.isTransient {
		e.apiErr.RetryAfter = r.retryAfter
	}
	return e
}

// retryAfterOf returns how long a response asks to wait, in any of the headers in use. It returns zero
// if it does not.
func retryAfterOf(header http.Header) time.Duration {
	if wait := parseDelay(header.Get("Retry-After-Ms") + "ms"); wait > 0 {
		return wait
	}
	if wait := parseRetryAfter(header.Get("Retry-After")); wait > 0 {
		return wait
	}
	var longest time.Duration
	for _, name := range []string{"X-Ratelimit-Reset-Requests", "X-Ratelimit-Reset-Tokens", "X-Ratelimit-Reset", "Ratelimit-Reset"} {
		longest = max(longest, parseDelay(header.Get(name)), parseRetryAfter(header.Get(name)))
	}
	return longest
}

// maxDelay is the longest delay that is accepted.
const maxDelay = 7 * 24 * time.Hour

// parseDelay parses a duration such as 1m30s. It returns zero for anything else.
func parseDelay(value string) time.Duration {
	delay, err := time.ParseDuration(value)
	if err != nil || delay < 0 || delay > maxDelay {
		return 0
	}
	return delay
}

// parseRetryAfter parses seconds, a Unix time in seconds or milliseconds, or a date. It returns zero
// for anything else.
func parseRetryAfter(value string) time.Duration {
	if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 && seconds < 1e14 {
		switch {
		case seconds > 1e11:
			return parseDelay(time.Until(time.UnixMilli(int64(seconds))).String())
		case seconds > 1e8:
			return parseDelay(time.Until(time.Unix(int64(seconds), 0)).String())
		}
		return parseDelay(value + "s")
	}
	if at, err := http.ParseTime(value); err == nil {
		return parseDelay(time.Until(at).String())
	}
	return 0
}
