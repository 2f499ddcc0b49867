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

// block is a block of code of a guide.
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

// interpreters run a file of a language in a directory; those of other languages come with the tag sdk, and without it their
// blocks are passed over.
var interpreters = map[string]func(file string) *exec.Cmd{
	"sh": func(file string) *exec.Cmd { return exec.Command("bash", file) },
	"go": func(file string) *exec.Cmd {
		cmd := exec.Command("go", "run", file)
		cmd.Dir = "../.." // where the modules are that it imports
		return cmd
	},
}

// taught are the languages of the guides that are run, and shown those that are not.
var (
	taught = []string{"sh", "go", "python", "js"}
	shown  = []string{"sql", "nginx"}
)

// What the guides show can be done, in the order in which they show it, and gives what they say. A block of `text` is what the
// block before it prints; in it … stands for anything. What a shell sets, all later blocks of the guide have in their
// environment, beside $BASE, $KEY and $METRICS. A block is left out by the word not-run after its language.
func TestTheGuidesAreTrue(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	server := serving(t, dir, "PARLEY_RATE_LIMITS=messages=60,history=100,list=30", "PARLEY_DEBUG_ADDR=127.0.0.1:0")
	found, err := filepath.Glob(guides + "/*.md")
	if err != nil || len(found) < 8 {
		t.Fatalf("%v: %v", found, err)
	}
	t.Run("each", func(t *testing.T) { // ends when all of them have
		for _, guide := range found {
			name := strings.TrimSuffix(filepath.Base(guide), ".md")
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				stdout, _, _ := runCommand(t, dir, nil, "org", "create", name)
				key := printedKey.FindStringSubmatch(stdout)
				if key == nil {
					t.Fatalf("no key in %q", stdout)
				}
				follow(t, guide, "BASE="+server.base, "KEY="+key[1], "METRICS="+server.inside().base)
			})
		}
	})
	server.stop()
}

// follow does what a guide says.
func follow(t *testing.T, guide string, environment ...string) {
	t.Helper()
	dir := t.TempDir()
	notRun, printed, isPrinted := 0, "", false
	for _, one := range blocksOf(t, guide) {
		where := filepath.Base(guide) + ":" + strconv.Itoa(one.line)
		interpret := interpreters[one.language]
		switch {
		case one.language == "text" && isPrinted:
			if !isLike(one.text, printed) {
				t.Errorf("%s says\n%s\nbut what came is\n%s", where, one.text, printed)
			}
			isPrinted = false
		case one.language == "text", slices.Contains(shown, one.language):
		case !slices.Contains(taught, one.language):
			t.Errorf("%s: a block of %q", where, one.language)
		case !one.isToRun:
			notRun++
		case interpret == nil:
			isPrinted = false
		default:
			file := filepath.Join(dir, strconv.Itoa(one.line)+"."+one.language)
			state := filepath.Join(dir, "state")
			if one.language == "sh" {
				one.text = "set -eua\n" + one.text + "\nenv -0 > '" + state + "'\n"
			}
			if err := os.WriteFile(file, []byte(one.text), 0o600); err != nil {
				t.Fatal(err)
			}
			cmd := interpret(file)
			if cmd.Dir == "" {
				cmd.Dir = dir
			}
			cmd.Env = append(os.Environ(), environment...)
			output, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v\n%s%s", where, err, output, errorsOf(err))
			}
			printed, isPrinted = string(output), true
			if one.language == "sh" {
				set, err := os.ReadFile(state)
				if err != nil {
					t.Fatal(err)
				}
				environment = strings.Split(strings.TrimSuffix(string(set), "\x00"), "\x00")
			}
		}
	}
	if notRun > 2 {
		t.Errorf("%s has %d blocks that are not run", guide, notRun)
	}
}

// isLike tells whether what was printed is what is said, in which … stands for anything. Headers end their lines with CRLF.
func isLike(said, printed string) bool {
	printed = strings.ReplaceAll(printed, "\r\n", "\n")
	pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(said)), "…", ".*?")
	return regexp.MustCompile(`(?s)\A` + pattern + `\z`).MatchString(strings.TrimSpace(printed))
}

// errorsOf is what a program that failed has said.
func errorsOf(err error) []byte {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.Stderr
	}
	return nil
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	notSlug = regexp.MustCompile("[^a-z0-9 -]")
)

// The documents of the project lead to each other, and to places that are there.
func TestTheGuidesLeadSomewhere(t *testing.T) {
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
		for _, target := range link.FindAllStringSubmatch(string(content), -1) {
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
			if place != "" && !slices.Contains(placesOf(there), place) {
				t.Errorf("%s leads to %s, where that place is not", document, target[1])
			}
		}
	}
}

// placesOf are the headings of a document, as links name them.
func placesOf(document []byte) []string {
	var found []string
	for _, one := range heading.FindAllSubmatch(document, -1) {
		found = append(found, strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(string(one[1])), ""), " ", "-"))
	}
	return found
}
