package client_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"

	"parley/client"
	api "parley/gen/client"
)

// Print a reply while it is written.
func ExampleClient_CompletionEvents() {
	parley, err := client.New("https://chat.example.com", client.WithKey(os.Getenv("PARLEY_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	question := client.CompletionCreate{Message: client.CompletionMessage{Content: "Do you ship abroad?"}}
	for event, err := range parley.CompletionEvents(context.Background(), "support", nil, question) {
		if err != nil {
			log.Fatal(err)
		}
		if event.Reset != nil {
			fmt.Print("\n(restarted)\n")
		}
		fmt.Print(event.Content)
	}
}

// Start a conversation with a generated method, and handle a rate limit.
func ExampleErrorOf() {
	parley, err := client.New("https://chat.example.com", client.WithKey(os.Getenv("PARLEY_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	started, err := parley.StartConversationWithResponse(context.Background(), nil, api.ConversationStart{InitialMessage: new("Hello")})
	if err != nil {
		log.Fatal(err) // the request was not answered
	}
	err = client.ErrorOf(started.HTTPResponse, started.Body)
	if refused, ok := errors.AsType[*client.ProblemError](err); ok && refused.Problem.Error == api.ProblemCodeRateLimited {
		log.Fatalf("try again in %d seconds", *refused.Problem.RetryAfter)
	} else if err != nil {
		log.Fatal(err)
	}
	fmt.Println(started.JSON201.ConversationID)
}

// Send a message over a WebSocket and wait for the bot's reply, across reconnects.
func ExampleClient_NewSocket() {
	parley, err := client.New("https://chat.example.com", client.WithKey(os.Getenv("PARLEY_KEY")))
	if err != nil {
		log.Fatal(err)
	}
	socket := parley.NewSocket(client.SocketOptions{BotID: "support"})
	if err := socket.Send(client.ClientMessageFrame{Content: "Do you ship abroad?"}); err != nil {
		log.Fatal(err)
	}
	for frame, err := range socket.Frames(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		switch frame := frame.(type) {
		case *client.StatusFrame:
			if frame.Status == client.StatusDelivered {
				fmt.Println("stored as", *frame.Seq)
			}
		case *client.MessageFrame:
			fmt.Println(frame.Content)
			return
		case *client.ErrorFrame:
			log.Fatal(frame.Detail)
		}
	}
}
