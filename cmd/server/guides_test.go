package main

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const guides = "../../docs"

// block is a code block of a guide.
type block struct {
	line     int
	language string
	isToRun  bool
	text     string
}

var fenced = regexp.MustCompile("(?ms)^```(\\S*)( not-run)?\n(.*?)^```$")

func blocksOf(t *testing.T, guide string) []block {
	t.Helper()
	content, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	var found []block
	for _, at := range fenced.FindAllSubmatchIndex(content, -1) {
		found = append(found, block{
			line:     strings.Count(string(content[:at[0]]), "\n") + 1,
			language: string(content[at[2]:at[3]]),
			isToRun:  at[4] < 0,
			text:     string(content[at[6]:at[7]]),
		})
	}
	return found
}

// interpreters return the command that runs a file of a language. The build tag sdk adds more languages. Without it their
// blocks are skipped.
var interpreters = map[string]func(file string) *exec.Cmd{
	"sh": func(file string) *exec.Cmd { return exec.Command("bash", file) },
	"go": func(file string) *exec.Cmd {
		cmd := exec.Command("go", "run", file)
		cmd.Dir = "../.." // the module that it imports
		return cmd
	},
}

// runLanguages are the languages of blocks that are executed, and shownLanguages those that are not.
var (
	runLanguages   = []string{"sh", "go", "python", "js"}
	shownLanguages = []string{"sql", "nginx"}
)

// The code blocks of the guides work in order and print what the guides say. A block of `text` is the output of the block
// before it, where … matches anything. Variables that a shell block sets are in the environment of all later blocks, with
// $BASE, $KEY and $METRICS. The word not-run after its language skips a block.
func TestGuideSnippetsWork(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	server := serving(t, dir, "PARLEY_RATE_LIMITS=messages=60,history=100,list=30", "PARLEY_DEBUG_ADDR=127.0.0.1:0")
	found, err := filepath.Glob(guides + "/*.md")
	if err != nil || len(found) < 8 {
		t.Fatalf("%v: %v", found, err)
	}
	t.Run("each", func(t *testing.T) { // returns when all guides have ended
		for _, guide := range found {
			name := strings.TrimSuffix(filepath.Base(guide), ".md")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				stdout, _, _ := runCommand(t, dir, nil, "org", "create", name)
				key := printedKey.FindStringSubmatch(stdout)
				if key == nil {
					t.Fatalf("no key in %q", stdout)
				}
				runGuide(t, guide, "BASE="+server.base, "KEY="+key[1], "METRICS="+server.debugClient().base)
			})
		}
	})
	server.stop()
}

// runGuide runs the blocks of a guide.
func runGuide(t *testing.T, guide string, environment ...string) {
	t.Helper()
	dir := t.TempDir()
	notRun, printed, isPrinted := 0, "", false
	for _, b := range blocksOf(t, guide) {
		where := filepath.Base(guide) + ":" + strconv.Itoa(b.line)
		interpret := interpreters[b.language]
		switch {
		case b.language == "text" && isPrinted:
			if !matchesOutput(b.text, printed) {
				t.Errorf("%s: want the output\n%s\ngot\n%s", where, b.text, printed)
			}
			isPrinted = false
		case b.language == "text", slices.Contains(shownLanguages, b.language):
		case !slices.Contains(runLanguages, b.language):
			t.Errorf("%s: unknown language %q", where, b.language)
		case !b.isToRun:
			notRun++
		case interpret == nil:
			isPrinted = false
		default:
			file := filepath.Join(dir, strconv.Itoa(b.line)+"."+b.language)
			state := filepath.Join(dir, "state")
			if b.language == "sh" {
				b.text = "set -eua\n" + b.text + "\nenv -0 > '" + state + "'\n"
			}
			if err := os.WriteFile(file, []byte(b.text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := interpret(file)
			if cmd.Dir == "" {
				cmd.Dir = dir
			}
			cmd.Env = append(os.Environ(), environment...)
			output, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v\n%s%s", where, err, output, stderrOf(err))
			}
			printed, isPrinted = string(output), true
			if b.language == "sh" {
				set, err := os.ReadFile(state)
				if err != nil {
					t.Fatal(err)
				}
				environment = strings.Split(strings.TrimSuffix(string(set), "\x00"), "\x00")
			}
		}
	}
	if notRun > 2 {
		t.Errorf("%s has %d blocks with not-run, at most 2 are allowed", guide, notRun)
	}
}

// matchesOutput reports whether an output matches a pattern, in which … matches anything. Header lines may end with CRLF.
func matchesOutput(output, printed string) bool {
	printed = strings.ReplaceAll(printed, "\r\n", "\n")
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(output)), "…", ".*?")
	return regexp.MustCompile(`(?s)\A` + pattern + `\z`).MatchString(strings.TrimSpace(printed))
}

// stderrOf returns what a failed program has written to stderr.
func stderrOf(err error) []byte {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.Stderr
	}
	return nil
}

var (
	code    = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notSlug = regexp.MustCompile("[^a-z0-9 -]")
)

// Links between the documents of the project lead to existing files and headings.
func TestGuideLinksResolve(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob(guides + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	ofTheProject, err := filepath.Glob("../../*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range append(found, ofTheProject...) {
		content, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, target := range link.FindAllStringSubmatch(code.ReplaceAllString(string(content), ""), -1) {
			if strings.Contains(target[1], "://") {
				continue
			}
			file, place, _ := strings.Cut(target[1], "#")
			led := document
			if file != "" {
				led = filepath.Join(filepath.Dir(document), file)
			}
			there, err := os.ReadFile(led)
			if err != nil {
				if info, statErr := os.Stat(led); statErr != nil || !info.IsDir() {
					t.Errorf("%s: %v", document, err)
				}
				continue
			}
			if place != "" && !slices.Contains(anchorsOf(there), place) {
				t.Errorf("%s: the heading of the link %s does not exist", document, target[1])
			}
		}
	}
}

// anchorsOf returns the anchors of a document's headings.
func anchorsOf(document []byte) []string {
	var found []string
	for _, match := range heading.FindAllSubmatch(document, -1) {
		found = append(found, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(string(match[1])), ""), " ", "-"))
	}
	return found
}
