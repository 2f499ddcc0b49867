package internal_test

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// retired lists the phrases and names that the project does not use, with the term to use instead. The check reads
// all text that people read: code, comments, SQL, specifications, scripts and documents.
var retired = []struct {
	pattern *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`(?i)\btells? (whether|which|what|how|who|when|where)\b`), `"reports whether", "returns" or "describes"`},
	{regexp.MustCompile(`(?i)\b(is|are|was|were|be|been) told\b|\btold (of|what|whether|that|so|as|in|by|to)\b`), `"notified", "reported" or "described"`},
	{regexp.MustCompile(`\btold\b *(,.*)?:?=|\btold\.`), `"apiErr" or another noun`},
	{regexp.MustCompile(`(?i)\banew\b`), `"again"`},
	{regexp.MustCompile(`(?i)\bmend(s|ed|ing)?\b`), `"fix"`},
	{regexp.MustCompile(`(?i)\bwhoever\b`), `"the caller", "anyone who"`},
	{regexp.MustCompile(`(?i)\b(is|are) to be had\b`), `"is available"`},
	{regexp.MustCompile(`(?i)\bof which it is\b`), `a second sentence`},
	{regexp.MustCompile(`(?i)\btakes? up again\b|\btaken up again\b|\btaking up again\b`), `"reclaim" or "resume"`},
	{regexp.MustCompile(`(?i)\bculprit|\bfurnish|\brehears|\bneighbour`), `the standard term`},
	{regexp.MustCompile(`\b(crew|wards?|ailing|lookout|errands?|consults?|doubts|judge[sd]?|apart\.go)\b`), `the standard term`},
	{regexp.MustCompile(`\b(Deposits?|WithShortcuts|isAlone|isBegun)\b`), `the current name`},
}

// asLongAs matches "as long as", which should read "while" unless it compares durations.
var asLongAs = regexp.MustCompile(`(?i)(\w+) as long as\b`)

// comparing are the words before "as long as" that compare durations.
var comparing = []string{"times", "twice", "half", "take", "takes", "last", "lasts", "about"}

// isNo matches "X is no Y", which should read "X is not a Y". "There is no Y" and "is no longer" are plain English.
var isNo = regexp.MustCompile(`(?i)(\w+) is no (\w+)`)

// idiomatic are words that make "is no …" an idiom.
var idiomatic = []string{"longer", "more", "less", "greater", "later", "earlier", "better", "worse", "larger", "smaller", "slower", "faster", "different"}

// spoken are the extensions of the files that the check reads.
var spoken = []string{".go", ".sql", ".yaml", ".yml", ".md", ".sh", ".ts", ".tsx", ".mjs", ".py"}

// exempt are files that may contain retired phrases: released and generated files, this list, and the notices of
// other authors.
var exempt = []string{"api/releases", "db/migrations", "gen", "internal/voice_test.go", "sdk/typescript/src/schema.ts", "tools/selftest.sh"}

// TestVoice checks that no text for people contains a retired phrase or name.
func TestVoice(t *testing.T) {
	t.Parallel()
	root := os.DirFS("..")
	read := 0
	err := fs.WalkDir(root, ".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if slices.Contains(exempt, file) || isHiddenOrInstalled(file) {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() || !slices.Contains(spoken, path.Ext(file)) {
			return nil
		}
		text, err := fs.ReadFile(root, file)
		if err != nil {
			return err
		}
		read++
		for number, line := range strings.Split(string(text), "\n") {
			for _, problem := range voiceProblems(line) {
				t.Errorf("%s:%d: %s", file, number+1, problem)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if read < 100 {
		t.Errorf("only %d files were read", read)
	}
}

// stems are parts of all retired phrases, in lower case. Lines without any of them are not matched against the
// patterns, which are slow under the race detector.
var stems = []string{
	"tell", "told", "anew", "mend", "whoever", "as long", "to be had", "of which", "up again", "culprit", "furnish", "rehears", "neighbour",
	"crew", "ward", "ailing", "lookout", "errand", "consult", "doubts", "judge", "apart.go", "deposit", "shortcuts", "isalone", "isbegun", "is no ",
}

// voiceProblems returns the problems of a line, as sentences.
func voiceProblems(line string) []string {
	lower := strings.ToLower(line)
	if !slices.ContainsFunc(stems, func(stem string) bool { return strings.Contains(lower, stem) }) {
		return nil
	}
	var problems []string
	for _, r := range retired {
		if found := r.pattern.FindString(line); found != "" {
			problems = append(problems, "replace \""+found+"\" with "+r.instead)
		}
	}
	for _, match := range asLongAs.FindAllStringSubmatch(line, -1) {
		if !slices.Contains(comparing, strings.ToLower(match[1])) {
			problems = append(problems, "replace \""+match[0]+"\" with \"while\"")
		}
	}
	for _, match := range isNo.FindAllStringSubmatch(line, -1) {
		if !strings.EqualFold(match[1], "there") && !slices.Contains(idiomatic, strings.ToLower(match[2])) {
			problems = append(problems, "replace \""+match[0]+"\" with \"is not a\" or \"has no\"")
		}
	}
	return problems
}

// isHiddenOrInstalled reports whether a path belongs to git, to an editor or to installed packages.
func isHiddenOrInstalled(file string) bool {
	base := path.Base(file)
	return base == "node_modules" || base == "dist" || base == "bin" || base != "." && base != ".ci" && strings.HasPrefix(base, ".")
}

// TestVoiceFindsRetiredPhrases tests the check with sentences that it must reject or accept.
func TestVoiceFindsRetiredPhrases(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"// isReady tells whether the server is ready.", "Whoever comes first runs alone.", "which is no valid id", "The server is started anew.",
		"func (c *crew) hire()", "The lease holds as long as it is renewed.", "told, ok := errors.AsType[*apperr.Error](err)",
	} {
		if len(voiceProblems(line)) == 0 {
			t.Errorf("accepts %q", line)
		}
	}
	for _, line := range []string{"There is no such conversation.", "Planning takes five times as long as execution.", "The run is no longer leased.", "isReady reports whether the server is ready."} {
		if problems := voiceProblems(line); len(problems) > 0 {
			t.Errorf("rejects %q: %v", line, problems)
		}
	}
}
