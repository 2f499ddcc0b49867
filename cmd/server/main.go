// Command parley is the conversation backend.
//
// Without arguments it serves (serve.go). Its subcommands manage organizations, back up and restore the
// database, and check any deployment against the contract. Everything except `parley conformance` is
// configured by environment variables (config.go).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"parley/internal/localpg"
	"parley/internal/store"
)

const usage = `usage:
  parley                    run the server
  parley org create <name>  create an organization and print its admin key
  parley org list           list the organizations
  parley backup <file>      back up the database to a new file
  parley restore <file>     restore a backup into an empty database
  parley conformance        check a deployment against the API contract (-h for flags)
  parley version            print the version

Settings are environment variables; see docs/operation.md.`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:])
	stop()
	os.Exit(code)
}

// execute executes a command and returns the exit code.
func execute(ctx context.Context, args []string) int {
	if len(args) > 0 && args[0] == "conformance" { // needs no configuration
		return runConformance(ctx, args[1:], os.Getenv("PARLEY_KEY"), os.Stdout, os.Stderr)
	}
	if len(args) > 0 && (args[0] == "version" || args[0] == "--version") { // needs no configuration
		fmt.Println("parley", version())
		return 0
	}
	home, _ := os.UserHomeDir() // loadConfig reports a missing home directory if it needs one
	config, err := loadConfig(processEnvironment(), os.Geteuid() == 0, home)
	if limit := memoryLimit(os.DirFS("/"), processEnvironment(), config); limit > 0 {
		debug.SetMemoryLimit(limit)
	}
	if err == nil {
		err = dispatch(ctx, config, args, os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "parley: %v\n", err)
		if errors.Is(err, errUnknownCommand) {
			fmt.Fprintln(os.Stderr, usage)
		}
		return 1
	}
	return 0
}

var errUnknownCommand = errors.New("unknown command")

// dispatch executes any command but conformance.
func dispatch(ctx context.Context, config config, args []string, out io.Writer) error {
	log := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: config.LogLevel}))
	if len(config.UnknownVariables) > 0 {
		log.Warn("ignore unknown environment variables", "variables", config.UnknownVariables)
	}
	if len(args) == 0 {
		return serve(ctx, config, log, out)
	}
	// The subcommands use the database of a server that runs on the same data directory.
	if databaseURL, ok := localpg.Running(config.DataDir, "postgres"); ok && config.DatabaseURL == "" {
		config.DatabaseURL = databaseURL
	}
	switch command, rest := args[0], args[1:]; {
	case command == "org" && len(rest) == 2 && rest[0] == "create":
		return withStore(ctx, config, log, nil, func(store *store.Store, _ <-chan struct{}) error {
			return createOrganization(ctx, store, rest[1], out)
		})
	case command == "org" && len(rest) == 1 && rest[0] == "list":
		return withStore(ctx, config, log, nil, func(store *store.Store, _ <-chan struct{}) error {
			return listOrganizations(ctx, store, out)
		})
	case command == "backup" && len(rest) == 1:
		if err := requireDatabase(config); err != nil {
			return err
		}
		return withDatabase(ctx, config, log, func(databaseURL string, _ <-chan struct{}) error {
			return backUp(ctx, config, databaseURL, rest[0], out)
		})
	case command == "restore" && len(rest) == 1:
		return withDatabase(ctx, config, log, func(databaseURL string, _ <-chan struct{}) error {
			return restore(ctx, config, databaseURL, rest[0], out)
		})
	case len(rest) == 0 && (command == "help" || command == "-h" || command == "--help"):
		_, err := fmt.Fprintln(out, usage)
		return err
	}
	return errUnknownCommand
}
