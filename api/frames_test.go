package api_test

import (
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/oasdiff/yaml"
)

// The examples of the AsyncAPI messages are frames of the dialogue in openapi.yaml, which was
// recorded with a real server.
func TestAsyncAPIExamplesAreRecordedFrames(t *testing.T) {
	t.Parallel()
	written, err := os.ReadFile("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document struct {
		Components struct {
			Messages map[string]struct {
				Examples []struct{ Payload map[string]any }
			}
		}
	}
	asJSON, err := yaml.YAMLToJSON(written)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(asJSON, &document); err != nil {
		t.Fatal(err)
	}
	_, dialogue, _ := strings.Cut(find(load(t), "connect").Description, "```\n")
	dialogue, _, _ = strings.Cut(dialogue, "```")
	var frames []map[string]any
	for line := range strings.Lines(dialogue) {
		_, frame, _ := strings.Cut(line, " ")
		var read map[string]any
		if err := json.Unmarshal([]byte(frame), &read); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		frames = append(frames, read)
	}
	if len(document.Components.Messages) < 6 {
		t.Errorf("%d messages", len(document.Components.Messages))
	}
	for name, message := range document.Components.Messages {
		if len(message.Examples) == 0 {
			t.Errorf("%s has no example", name)
		}
		for _, example := range message.Examples {
			if !slices.ContainsFunc(frames, func(frame map[string]any) bool { return reflect.DeepEqual(frame, example.Payload) }) {
				t.Errorf("%s: the dialogue in openapi.yaml does not have the frame %v", name, example.Payload)
			}
		}
	}
}
