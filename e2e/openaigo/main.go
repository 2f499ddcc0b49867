// Command openaigo tests /v1 with OpenAI's SDK for Go. The tests of cmd/server run it and pass the
// URLs of the server and of its model server in the environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/responses"
	"github.com/openai/openai-go/v3/shared"

	"parley/e2e/harness"
)

const model = "clever"

var cityParameters = shared.FunctionParameters{
	"type": "object", "properties": map[string]any{"city": map[string]string{"type": "string"}}, "required": []string{"city"},
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := openai.NewClient(option.WithBaseURL(os.Getenv("PARLEY")+"/v1"), option.WithAPIKey(os.Getenv("KEY")))
	failed := false
	for _, scene := range []struct {
		name string
		run  func(context.Context, openai.Client) error
	}{
		{"creates completions", createCompletion},
		{"streams completions", streamCompletion},
		{"runs a loop with tools", runTools},
		{"streams responses", streamResponse},
		{"returns typed errors", returnErrors},
		{"reports failures of streams", streamFailure},
	} {
		if err := scene.run(ctx, client); err != nil {
			fmt.Printf("not ok: %s: %v\n", scene.name, err)
			failed = true
			continue
		}
		fmt.Println("ok:", scene.name)
	}
	if failed {
		os.Exit(1)
	}
}

func ask(text string) openai.ChatCompletionNewParams {
	return openai.ChatCompletionNewParams{Model: model, Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(text)}}
}

func createCompletion(ctx context.Context, client openai.Client) error {
	params := ask("openai-go: plain")
	params.Temperature = openai.Float(0.5)
	completion, err := client.Chat.Completions.New(ctx, params)
	if err != nil {
		return err
	}
	requests, err := asked(ctx, "openai-go: plain")
	if err != nil {
		return err
	}
	if len(requests) != 1 || requests[0]["temperature"] != 0.5 {
		return fmt.Errorf("the model server was asked %v", requests)
	}
	return expect("Good day 15", fmt.Sprint(completion.Choices[0].Message.Content, " ", completion.Usage.TotalTokens))
}

func streamCompletion(ctx context.Context, client openai.Client) error {
	stream := client.Chat.Completions.NewStreaming(ctx, ask("openai-go: stream"))
	var whole openai.ChatCompletionAccumulator
	for stream.Next() {
		whole.AddChunk(stream.Current())
	}
	if err := stream.Err(); err != nil {
		return err
	}
	return expect("Good day", whole.Choices[0].Message.Content)
}

// runTools calls the function that the model asks for and returns its result.
func runTools(ctx context.Context, client openai.Client) error {
	params := ask("openai-go: tools")
	params.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{Name: "weather", Parameters: cityParameters})}
	first, err := client.Chat.Completions.New(ctx, params)
	if err != nil {
		return err
	}
	message := first.Choices[0].Message
	if len(message.ToolCalls) != 1 || message.ToolCalls[0].Function.Arguments != `{"city":"Taipei"}` {
		return fmt.Errorf("the calls are %+v", message.ToolCalls)
	}
	params.Messages = append(params.Messages, message.ToParam(), openai.ToolMessage("rain", message.ToolCalls[0].ID))
	second, err := client.Chat.Completions.New(ctx, params)
	if err != nil {
		return err
	}
	return expect("It rains in Taipei.", second.Choices[0].Message.Content)
}

func streamResponse(ctx context.Context, client openai.Client) error {
	stream := client.Responses.NewStreaming(ctx, responses.ResponseNewParams{
		Model: model, Input: responses.ResponseNewParamsInputUnion{OfString: openai.String("openai-go: response")},
	})
	var text strings.Builder
	for stream.Next() {
		if event := stream.Current(); event.Type == "response.output_text.delta" {
			text.WriteString(event.Delta)
		}
	}
	if err := stream.Err(); err != nil {
		return err
	}
	return expect("Good day", text.String())
}

func returnErrors(ctx context.Context, client openai.Client) error {
	_, err := client.Chat.Completions.New(ctx, ask("openai-go: too long"))
	failure, ok := errors.AsType[*openai.Error](err)
	if !ok || failure.StatusCode != http.StatusBadRequest || failure.Code != "context_length_exceeded" {
		return fmt.Errorf("the error is %w", err)
	}
	return nil
}

// streamFailure checks that a stream that fails before its first token is an error, not an empty
// reply.
func streamFailure(ctx context.Context, client openai.Client) error {
	stream := client.Chat.Completions.NewStreaming(ctx, ask("openai-go: broken"), option.WithMaxRetries(0))
	for stream.Next() {
		return fmt.Errorf("the chunk %s arrived", stream.Current().RawJSON())
	}
	err := stream.Err()
	failure, ok := errors.AsType[*openai.Error](err) // of the request or, after two seconds, of the stream
	if err == nil || ok && failure.StatusCode < 500 {
		return fmt.Errorf("the error is %w", err)
	}
	return nil
}

// asked returns the requests that the model server received with a text in them.
func asked(ctx context.Context, text string) (requests []map[string]any, err error) {
	url := os.Getenv("UPSTREAM") + "/requests?text=" + strings.ReplaceAll(text, " ", "+")
	return requests, harness.Call(ctx, http.MethodGet, url, "", nil, &requests)
}

func expect(want, got string) error {
	if got != want {
		return fmt.Errorf("got %q, want %q", got, want)
	}
	return nil
}
