package dbtest

import (
	"bufio"
	"context"
	"fmt"
	"os"
)

// RunChild is the body of a child process: it creates a database, prints its URL and waits for the
// end of its input.
func RunChild() error {
	if err := shared.start(); err != nil {
		return err
	}
	name, err := shared.copy(context.Background(), template)
	if err != nil {
		return err
	}
	fmt.Println(shared.server.URL(name))
	bufio.NewScanner(os.Stdin).Scan()
	return shared.stop()
}
