package api_test

import (
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// asyncapi is what the WebSocket's own document says.
type asyncapi struct {
	Info     struct{ Version string }
	Channels map[string]struct {
		Address  string
		Messages map[string]any
	}
	Operations map[string]struct {
		Action   string
		Messages []struct {
			Ref string `yaml:"$ref"`
		}
	}
	Components struct {
		Messages map[string]struct {
			Name    string
			Payload struct {
				SchemaFormat string `yaml:"schemaFormat"`
				Schema       struct {
					Ref string `yaml:"$ref"`
				}
			}
		}
	}
}

// The WebSocket's document is made of the schemas of the other one: the client's frame, and each of the server's under
// the name of its type. Both are of one version.
func TestTheSocketsDocumentIsMadeOfTheSameSchemas(t *testing.T) {
	t.Parallel()
	written, err := os.ReadFile("asyncapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var socket asyncapi
	if err := yaml.Unmarshal(written, &socket); err != nil {
		t.Fatal(err)
	}
	doc := load(t)
	if socket.Info.Version != doc.Info.Version {
		t.Errorf("it is version %q, the other %q", socket.Info.Version, doc.Info.Version)
	}
	want := map[string]string{"clientMessage": "ClientMessageFrame"}
	for _, frame := range schemaOf(doc, "ServerFrame").OneOf {
		want[frame.Value.Properties["type"].Value.Enum[0].(string)] = component(frame)
	}
	got := map[string]string{}
	for name, message := range socket.Components.Messages {
		schema, isOurs := strings.CutPrefix(message.Payload.Schema.Ref, "./openapi.yaml#/components/schemas/")
		if !isOurs || doc.Components.Schemas[schema] == nil || message.Payload.SchemaFormat != "application/vnd.oai.openapi;version=3.0.0" {
			t.Errorf("%s has the schema %q of %q", name, message.Payload.Schema.Ref, message.Payload.SchemaFormat)
		}
		got[name] = schema
	}
	if !maps.Equal(got, want) {
		t.Errorf("its messages are %v, want %v", got, want)
	}
	session := socket.Channels["session"]
	if doc.Paths.Value(session.Address) == nil || !slices.Equal(slices.Sorted(maps.Keys(session.Messages)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("the channel at %q has the messages %v", session.Address, session.Messages)
	}
	// Said and told is each of them once.
	var said []string
	for _, operation := range socket.Operations {
		for _, message := range operation.Messages {
			name := path.Base(message.Ref)
			if isClients := operation.Action == "receive"; isClients != (name == "clientMessage") {
				t.Errorf("the action %s has the message %s", operation.Action, name)
			}
			said = append(said, name)
		}
	}
	slices.Sort(said)
	if !slices.Equal(said, slices.Sorted(maps.Keys(want))) {
		t.Errorf("the operations have the messages %v", said)
	}
}
