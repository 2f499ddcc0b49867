package llm

import (
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"parley/internal/bot"
)

// shape describes how a request deviates from the standard form. Many servers accept less than the standard.
type shape struct {
	omitsStreamOptions bool
	omitsStream        bool
	omitsSystem        bool // the instructions begin the first message instead
	omitsTemperature   bool
	swapsMaxTokens     bool // max_tokens is called max_completion_tokens, or the reverse
	window             int  // index of windows
}

// windows are the fractions of the history and the knowledge that a request contains. They are tried in order until
// the request fits into the model's context.
var windows = []float64{1, 0.5, 0.25, 0.1, 0}

// shapeOf returns the shape that a chatbot's settings ask for.
func shapeOf(m bot.Model) shape {
	omits := func(part string) bool { return slices.Contains(m.Omit, part) }
	return shape{
		omitsStreamOptions: omits(bot.OmitStreamOptions) || omits(bot.OmitStream),
		omitsStream:        omits(bot.OmitStream),
		omitsSystem:        omits(bot.OmitSystem),
	}
}

var (
	systemWords    = regexp.MustCompile(`system['"` + "`" + ` ]*(role|message|prompt|instruction)|role[^.]{0,40}system|['"` + "`" + `]system['"` + "`" + `]|developer instruction|only user and assistant|roles must alternate`)
	streamWords    = regexp.MustCompile(`\bstream(ing|ed)?\b`)
	rejectionWords = regexp.MustCompile(`not (yet |currently )?(support|implement|available|enabled|allowed|permitted|accept)|unsupported|must be false|cannot|can't|disabled|only supports? non`)
)

// adapt returns the shape to try next after a server has rejected a request, if its report names a
// part that can be left out. A report that names nothing may concern any part, so the ones that are
// newest in the protocol are left out first.
func (s shape) adapt(r report) (next shape, ok bool) {
	next = s
	isUnnamed := false
	switch r.status {
	case 400, 405, 406, 415, 422, 501:
		isUnnamed = !modelWords.MatchString(r.text) && !filterWords.MatchString(r.text)
	case 404, 500, 0:
	default:
		return s, false
	}
	names := func(words string) bool { return strings.Contains(r.text, words) }
	switch {
	case !s.omitsStreamOptions && (names("stream_options") || names("include_usage")):
		next.omitsStreamOptions = true
	case !s.swapsMaxTokens && names("max_completion_tokens"):
		next.swapsMaxTokens = true
	case !s.omitsTemperature && names("temperature"):
		next.omitsTemperature = true
	case !s.omitsSystem && systemWords.MatchString(r.text):
		next.omitsSystem = true
	case !s.omitsStream && streamWords.MatchString(r.text) && rejectionWords.MatchString(r.text):
		next.omitsStream, next.omitsStreamOptions = true, true
	case !s.omitsStreamOptions && isUnnamed:
		next.omitsStreamOptions = true
	case !s.omitsStream && isUnnamed:
		next.omitsStream = true
	default:
		return s, false
	}
	return next, true
}

// apply removes from a request's body what the shape leaves out. The messages are already in shape.
func (s shape) apply(body map[string]any) {
	body["stream"] = !s.omitsStream
	if !s.omitsStreamOptions {
		body["stream_options"] = map[string]bool{"include_usage": true}
	}
	if s.omitsTemperature {
		delete(body, "temperature")
	}
	if s.swapsMaxTokens {
		const older, newer = "max_tokens", "max_completion_tokens"
		oldLimit, hasOld := body[older]
		newLimit, hasNew := body[newer]
		delete(body, older)
		delete(body, newer)
		if hasNew {
			body[older] = newLimit
		} else if hasOld {
			body[newer] = oldLimit
		}
	}
}

// withoutSystem returns messages whose system prompt begins the first message of the user.
func withoutSystem(messages []chatMessage) []chatMessage {
	if len(messages) < 2 || messages[0].Role != "system" {
		return messages
	}
	prompt, _ := messages[0].Content.(string)
	first := messages[1]
	switch content := first.Content.(type) {
	case string:
		first.Content = prompt + "\n\n" + content
	case []contentPart:
		first.Content = append([]contentPart{{Type: "text", Text: prompt}}, content...)
	}
	return append([]chatMessage{first}, messages[2:]...)
}

const (
	// learnedTime is how long it is remembered what a server rejects.
	learnedTime = time.Hour
	// maxLearned bounds the memory of what servers reject.
	maxLearned = 10_000
)

// modelID identifies a model on a server as used by one organization with certain settings.
type modelID struct {
	server serverID
	model  string
	asked  shape
}

// shapes remembers which shape a model needs, so that only the first question pays for finding out.
// It is safe for concurrent use.
type shapes struct {
	mu      sync.Mutex
	learned map[modelID]learnedShape
}

type learnedShape struct {
	shape
	until time.Time
}

// of returns the shape to begin with.
func (s *shapes) of(id modelID) shape {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.learned[id]; ok && time.Now().Before(known.until) {
		return known.shape
	}
	return id.asked
}

// learn remembers the shape of a request that was answered. How much the context can hold depends on
// the question, so it is not remembered.
func (s *shapes) learn(id modelID, answered shape) {
	answered.window = 0
	s.mu.Lock()
	defer s.mu.Unlock()
	known, isKnown := s.learned[id]
	if answered == id.asked || isKnown && known.shape == answered && time.Now().Before(known.until) {
		return
	}
	if s.learned == nil || len(s.learned) >= maxLearned {
		s.learned = map[modelID]learnedShape{}
	}
	s.learned[id] = learnedShape{answered, time.Now().Add(learnedTime)}
}

// isStreamed reports whether the reply is asked for as a stream.
func (s shape) isStreamed() bool { return !s.omitsStream }
