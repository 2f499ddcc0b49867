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

// asyncapi is the part of the AsyncAPI document that the test reads.
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

// The AsyncAPI document has the version of the OpenAPI document. It references the OpenAPI schemas of the client's
// frame, and of the server's frames under the names of their types.
func TestAsyncAPIReferencesOpenAPISchemas(t *testing.T) {
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
		t.Errorf("version %q, want %q as in openapi.yaml", socket.Info.Version, doc.Info.Version)
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
		t.Errorf("messages %v, want %v", got, want)
	}
	session := socket.Channels["session"]
	if doc.Paths.Value(session.Address) == nil || !slices.Equal(slices.Sorted(maps.Keys(session.Messages)), slices.Sorted(maps.Keys(want))) {
		t.Errorf("the channel at %q has the messages %v", session.Address, session.Messages)
	}
	// Each message belongs to one operation.
	var used []string
	for _, operation := range socket.Operations {
		for _, message := range operation.Messages {
			name := path.Base(message.Ref)
			if isClients := operation.Action == "receive"; isClients != (name == "clientMessage") {
				t.Errorf("the action %s has the message %s", operation.Action, name)
			}
			used = append(used, name)
		}
	}
	slices.Sort(used)
	if !slices.Equal(used, slices.Sorted(maps.Keys(want))) {
		t.Errorf("the operations have the messages %v", used)
	}
}
