package httpapi_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const documentFile = "../../api/openapi.yaml"

// examplesBegin marks the section of examples, which is the last one of the document.
const examplesBegin = "\n  examples:\n"

// examples are the examples of the document, and the schemas that they illustrate.
type examples struct {
	t       *testing.T
	text    string // nodes of the document
	root    *yaml.Node
	byName  map[string]*yaml.Node
	schemas map[string]*yaml.Node
}

func readExamples(t *testing.T) *examples {
	t.Helper()
	written := must(os.ReadFile(documentFile))
	var document yaml.Node
	if err := yaml.Unmarshal(written, &document); err != nil {
		t.Fatal(err)
	}
	e := &examples{t: t, text: string(written), root: document.Content[0], byName: map[string]*yaml.Node{}, schemas: map[string]*yaml.Node{}}
	for name, example := range pairs(nodeAt(e.root, "components", "examples")) {
		e.byName[name] = nodeAt(example, "value")
	}
	e.collect(e.root)
	return e
}

// collect finds the schema of each example.
func (e *examples) collect(node *yaml.Node) {
	if schema := nodeAt(node, "schema"); schema != nil {
		for _, example := range pairs(nodeAt(node, "examples")) {
			if ref := nodeAt(example, "$ref"); ref != nil {
				e.schemas[strings.TrimPrefix(ref.Value, "#/components/examples/")] = schema
			}
		}
	}
	for _, child := range node.Content {
		e.collect(child)
	}
}

// compare compares each example with the recorded one, or rewrites the section.
func (s *tour) compare(e *examples) {
	s.t.Helper()
	section := &yaml.Node{Kind: yaml.MappingNode}
	left := maps.Clone(e.byName)
	for _, recorded := range *s.kept {
		s.at = recorded.name
		if operation, isTranscript := strings.CutSuffix(recorded.name, "Transcript"); isTranscript {
			s.compareTranscript(e, operation, recorded.body)
			continue
		}
		schema, isUsed := e.schemas[recorded.name]
		if !isUsed {
			s.t.Errorf("the document refers to no example %s", recorded.name)
		}
		var value any
		decoder := json.NewDecoder(bytes.NewReader(recorded.body))
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			s.t.Fatalf("%s: %v", recorded.name, err)
		}
		made := e.node(s.normalizeValue("", value), schema)
		had := left[recorded.name]
		delete(left, recorded.name)
		if had != nil && same(had, made) {
			made = had
		} else if !*recording {
			s.t.Errorf("the document's example %s differs from the recorded response (make examples):\n%s", recorded.name, must(yaml.Marshal(made)))
		}
		section.Content = append(section.Content, scalar(recorded.name), &yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{scalar("value"), made}})
	}
	if !*recording {
		for name := range left {
			s.t.Errorf("the document's example %s was not recorded", name)
		}
		return
	}
	var written bytes.Buffer
	encoder := yaml.NewEncoder(&written)
	encoder.SetIndent(2)
	if err := encoder.Encode(section); err != nil {
		s.t.Fatal(err)
	}
	before, _, found := strings.Cut(e.text, examplesBegin)
	if !found {
		s.t.Fatalf("%s has no examples", documentFile)
	}
	indented := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(written.String(), "    $1")
	if err := os.WriteFile(documentFile, []byte(before+examplesBegin+indented), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// compareTranscript compares the first code block of an operation's description with the recorded frames, or rewrites it.
func (s *tour) compareTranscript(e *examples, operation string, said []byte) {
	s.t.Helper()
	var text string
	if err := json.Unmarshal(said, &text); err != nil {
		s.t.Fatal(err)
	}
	const indent, fence = "        ", "        ```\n"
	text = strings.TrimSpace(allTimes.ReplaceAllString(s.normalize(text), exampleTime)) + "\n"
	text = regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(text, indent+"$1")
	before, rest, isThere := strings.Cut(e.text, "\n      operationId: "+operation+"\n")
	description, rest, isShown := strings.Cut(rest, fence)
	shown, rest, isEnded := strings.Cut(rest, fence)
	if !isThere || !isShown || !isEnded {
		s.t.Fatalf("the description of %s has no transcript", operation)
	}
	if shown == text {
		return
	}
	if !*recording {
		s.t.Errorf("the transcript in the description of %s differs from the recorded one (make examples):\n%s", operation, text)
	}
	e.text = before + "\n      operationId: " + operation + "\n" + description + fence + text + fence + rest
}

// volatile are values that differ between runs and have no recognizable form. The document has these values instead,
// as JSON.
var volatile = map[string]any{
	"token": "pct_AZq1kT0e2wJjIjoiMDE5YmMwYTQifQ", "ticket": "wst_2fVh0m3q6d0yPz1tJ8cB5nKxWu7RgLsA",
	"key": "pk_4f9a1c22d0.Zk3xQ0v9s1LrT7uYb2Wc5dEf8gHj", "prefix": "pk_4f9a1c22d0",
	"nextCursor": exampleCursor, "previousCursor": exampleCursor,
	"replyTime": json.Number("0.8"), "meanReplyTime": json.Number("0.8"), "p95ReplyTime": json.Number("1.9"), "meanTimeToFirstToken": json.Number("0.2"),
	"remaining": json.Number("57"), "resetIn": json.Number("42"), "retry_after": json.Number("42"),
}

const exampleCursor = "bi4xNzY4NDcyNDAwMDAwMDAw"

var (
	anyUUID   = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	anyDay    = regexp.MustCompile(`^\d{4}-\d\d-\d\d$`)
	anyCursor = regexp.MustCompile(`cursor=[^&"]+`)
	isTime    = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$`)
	allTimes  = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z`)
	allUnix   = regexp.MustCompile(`("created(?:_at)?"):\d{10,}`)
	retryIn   = regexp.MustCompile(`Retry in \d+ seconds`)
	// tableEnd matches the end of a line of the CSV export: the duration of the reply and the time.
	tableEnd = regexp.MustCompile(`,[0-9.]+,\d{4}-\d\d-\d\d \d\d:\d\d:\d\d`)
)

// normalizeValue returns a value with the document's IDs, times and addresses.
func (s *tour) normalizeValue(key string, value any) any {
	if fixed := volatile[key]; fixed != nil && value != nil {
		return fixed
	}
	switch value := value.(type) {
	case object:
		for _, key := range slices.Sorted(maps.Keys(value)) { // IDs are numbered in a stable order
			value[key] = s.normalizeValue(key, value[key])
		}
		return value
	case []any:
		for i, item := range value {
			value[i] = s.normalizeValue(key, item)
		}
		return value
	case string:
		if then, err := time.Parse(time.RFC3339Nano, value); err == nil {
			return must(time.Parse(time.RFC3339Nano, exampleTime)).Add(then.Sub(s.began)).Format("2006-01-02T15:04:05.000000Z")
		}
		if anyDay.MatchString(value) {
			return exampleDay
		}
		return s.normalize(value)
	case json.Number:
		if (key == "created" || key == "created_at") && len(value) >= 10 { // a Unix time, as in OpenAI's format
			return json.Number("1768473000")
		}
	}
	return value
}

// normalize replaces IDs, times and addresses in a text by those of the document.
func (s *tour) normalize(text string) string {
	text = anyUUID.ReplaceAllStringFunc(text, func(id string) string {
		if strings.HasPrefix(id, exampleID[:32]) {
			return id
		}
		if s.ids[id] == "" {
			s.ids[id] = s.newID()
		}
		return s.ids[id]
	})
	text = strings.ReplaceAll(text, s.url, exampleServer)
	text = anyCursor.ReplaceAllString(text, "cursor="+exampleCursor)
	text = retryIn.ReplaceAllString(text, "Retry in 60 seconds")
	text = allUnix.ReplaceAllString(text, "$1:1768473000")
	return tableEnd.ReplaceAllString(text, ",0.8,2026-01-15 10:30:00")
}

// newID derives an ID from the example in which it first occurs. A new step of the tour then leaves other examples
// unchanged.
func (s *tour) newID() string {
	taken := slices.Collect(maps.Values(s.ids))
	for n := 0; ; n++ {
		hash := fnv.New32a()
		fmt.Fprintf(hash, "%s %d", s.at, n)
		id := fmt.Sprintf(exampleID, hash.Sum32()&0xffff)
		if !slices.Contains(taken, id) && !strings.HasPrefix(id, fmt.Sprintf(exampleID, theBot)[:34]) {
			return id
		}
	}
}

// node returns a value as YAML, with its fields in the order of the schema, on one line if it is short.
func (e *examples) node(value any, schema *yaml.Node) *yaml.Node {
	schema = e.resolve(schema)
	var made *yaml.Node
	switch value := value.(type) {
	case object:
		made = &yaml.Node{Kind: yaml.MappingNode}
		properties := nodeAt(schema, "properties")
		if variant := e.variant(schema, value); variant != nil {
			properties = nodeAt(variant, "properties")
		}
		var order []string
		for name := range pairs(properties) {
			order = append(order, name)
		}
		rank := func(name string) int {
			if at := slices.Index(order, name); at >= 0 {
				return at
			}
			return len(order)
		}
		names := slices.SortedFunc(maps.Keys(value), func(a, b string) int { return cmp.Or(rank(a)-rank(b), strings.Compare(a, b)) })
		for _, name := range names {
			made.Content = append(made.Content, scalar(name), e.node(value[name], nodeAt(properties, name)))
		}
	case []any:
		made = &yaml.Node{Kind: yaml.SequenceNode}
		for _, item := range value {
			made.Content = append(made.Content, e.node(item, nodeAt(schema, "items")))
		}
	default:
		made = &yaml.Node{}
		if err := made.Encode(plainScalar(value)); err != nil {
			e.t.Fatal(err)
		}
		return made
	}
	if len(must(json.Marshal(value))) <= 110 {
		made.Style = yaml.FlowStyle
	}
	return made
}

// plainScalar converts a value to a type that YAML can encode.
func plainScalar(value any) any {
	number, isNumber := value.(json.Number)
	if !isNumber {
		return value
	}
	if whole, err := number.Int64(); err == nil {
		return whole
	}
	return must(number.Float64())
}

// variant returns the alternative of a schema that has all fields of the value.
func (e *examples) variant(schema *yaml.Node, value object) *yaml.Node {
	for _, alternative := range contents(nodeAt(schema, "oneOf")) {
		alternative = e.resolve(alternative)
		names := slices.Collect(maps.Keys(value))
		if !slices.ContainsFunc(names, func(name string) bool { return nodeAt(alternative, "properties", name) == nil }) {
			return alternative
		}
	}
	return nil
}

func (e *examples) resolve(schema *yaml.Node) *yaml.Node {
	ref := nodeAt(schema, "$ref")
	if ref == nil {
		return schema
	}
	return nodeAt(e.root, strings.Split(strings.TrimPrefix(ref.Value, "#/"), "/")...)
}

// same reports whether two values are equal. Of times, it compares only the format.
func same(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	switch a.Kind {
	case yaml.MappingNode:
		for name, value := range pairs(a) {
			other := nodeAt(b, name)
			if other == nil || !same(value, other) {
				return false
			}
		}
		return true
	case yaml.ScalarNode:
		return a.ShortTag() == b.ShortTag() && (a.Value == b.Value || isTime.MatchString(a.Value) && isTime.MatchString(b.Value))
	}
	for i := range a.Content {
		if !same(a.Content[i], b.Content[i]) {
			return false
		}
	}
	return true
}

func scalar(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// nodeAt follows the keys through nested mappings. It returns nil if there is no such node.
func nodeAt(node *yaml.Node, keys ...string) *yaml.Node {
	for _, key := range keys {
		var found *yaml.Node
		for name, value := range pairs(node) {
			if name == key {
				found = value
			}
		}
		if node = found; node == nil {
			return nil
		}
	}
	return node
}

// pairs iterates over the keys and values of a mapping, in order. Other nodes have none.
func pairs(node *yaml.Node) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		if node != nil && node.Kind == yaml.AliasNode {
			node = node.Alias
		}
		if node == nil || node.Kind != yaml.MappingNode {
			return
		}
		for i := 0; i+1 < len(node.Content); i += 2 {
			if !yield(node.Content[i].Value, node.Content[i+1]) {
				return
			}
		}
	}
}

func contents(node *yaml.Node) []*yaml.Node {
	if node == nil {
		return nil
	}
	return node.Content
}
