package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/faq"
	"parley/internal/inbox"
	"parley/internal/store"
)

const (
	defaultOrganization = "Default"
	adminUser           = "admin"
	keyFile             = "admin-key"
)

// adminKey is the admin key of the first organization. This start may not know it.
type adminKey struct {
	text        string // "" if it is unknown
	isGenerated bool   // by this start; only then is it printed
	path        string // the file with the key; "" if the key is from the configuration
}

// bootstrap creates the first organization if there are none. It returns the admin key: that of the configuration, or
// else the generated one in the data directory.
func bootstrap(ctx context.Context, opened *store.Store, config config) (key adminKey, err error) {
	if config.BootstrapKey == "" {
		key.path = filepath.Join(config.DataDir, keyFile)
	}
	count, err := opened.CountOrganizations(ctx)
	if err != nil {
		return adminKey{}, fmt.Errorf("count organizations: %w", err)
	}
	if count > 0 {
		return key.read(config)
	}
	// The key is written before the commit: if this start is killed, the next one begins again and
	// replaces the key.
	err = opened.WithTx(ctx, func(tx *store.Store) (err error) {
		key.text, err = createOrganizationWithDefaults(ctx, tx, defaultOrganization, config.BootstrapKey)
		if err != nil || config.BootstrapKey != "" {
			return err
		}
		key.isGenerated = true
		if err := writeKey(key.path, key.text); err != nil {
			return fmt.Errorf("store the admin key: %w", err)
		}
		return nil
	})
	if apperr.Is(err, apperr.Conflict) {
		// Another instance has created it at the same time.
		return adminKey{text: config.BootstrapKey}, nil
	}
	if err != nil {
		return adminKey{}, fmt.Errorf("create the first organization: %w", err)
	}
	return key, nil
}

// read returns the key of an earlier start.
func (k adminKey) read(config config) (_ adminKey, err error) {
	k.text = config.BootstrapKey
	if k.text == "" {
		k.text, err = readKey(k.path)
	}
	return k, err
}

// applyModel sets the model of the first organization's default chatbot to the one in the configuration, if any.
func applyModel(ctx context.Context, opened *store.Store, bots *bot.Bots, config config) error {
	if config.Model.Name == "" {
		return nil
	}
	first, err := opened.GetFirstOrganization(ctx)
	if err != nil {
		return fmt.Errorf("find the first organization: %w", err)
	}
	defaultBot, err := bots.Default(ctx, first.ID)
	if err != nil {
		return fmt.Errorf("find the default chatbot: %w", err)
	}
	if err := bots.UseModel(ctx, defaultBot, config.Model.BaseURL, config.Model.Name, config.Model.APIKey); err != nil {
		return fmt.Errorf("set the model of the default chatbot: %w", err)
	}
	return nil
}

func readKey(path string) (string, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the admin key: %w", err)
	}
	return strings.TrimSpace(string(content)), nil
}

func writeKey(path, key string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(key+"\n"), 0o600)
}

// createOrganizationWithDefaults creates an organization with an admin key, a default chatbot with FAQs,
// and a web chat. It returns the admin key, which is generated if wantedKey is empty.
func createOrganizationWithDefaults(ctx context.Context, tx *store.Store, name, wantedKey string) (string, error) {
	organization, err := tx.CreateOrganization(ctx, store.NewID(), name)
	if err != nil {
		return "", err
	}
	bots := bot.New(tx, nil) // creating bots needs no engines
	faqs := faq.New(tx, bots)
	created, err := bots.Create(ctx, organization.ID, bot.NewBot{
		Name:              "Parley",
		Slug:              "parley",
		Description:       "Answers questions about Parley.",
		Engine:            "faq",
		Greeting:          "Hello! Ask me anything about Parley.",
		UnanswerableReply: "Sorry, I do not know that. Ask me about Parley, or teach me: import FAQs for this bot.",
		IsDefault:         true,
	})
	if err != nil {
		return "", fmt.Errorf("create the default chatbot: %w", err)
	}
	for _, entry := range faq.Seed() {
		if _, err := faqs.Create(ctx, organization.ID, created.ID.String(), entry); err != nil {
			return "", fmt.Errorf("create the FAQs of the default chatbot: %w", err)
		}
	}
	webChat := inbox.WebChat{Name: new("Website")}
	if _, err := inbox.New(tx, bots).CreateWebChat(ctx, organization.ID, webChat, nil); err != nil {
		return "", fmt.Errorf("create the web chat: %w", err)
	}
	_, key, err := auth.New(tx).CreateKey(ctx, organization.ID, auth.NewKey{
		Name:   "Admin",
		User:   adminUser,
		Scopes: []auth.Scope{auth.Admin},
		Key:    wantedKey,
	})
	if err != nil {
		return "", fmt.Errorf("create the admin key: %w", err)
	}
	return key, nil
}

func createOrganization(ctx context.Context, opened *store.Store, name string, out io.Writer) error {
	if strings.TrimSpace(name) == "" {
		return errors.New("the name of the organization must not be empty")
	}
	var key string
	err := opened.WithTx(ctx, func(tx *store.Store) (err error) {
		key, err = createOrganizationWithDefaults(ctx, tx, name, "")
		return err
	})
	if apperr.Is(err, apperr.Conflict) {
		return fmt.Errorf("an organization named %q already exists", name)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "organization %s\nadmin key %s\n", name, key)
	return err
}

func listOrganizations(ctx context.Context, store *store.Store, out io.Writer) error {
	organizations, err := store.ListOrganizations(ctx)
	if err != nil {
		return err
	}
	for _, organization := range organizations {
		if _, err := fmt.Fprintf(out, "%s  %s  %s\n", organization.ID, organization.CreatedAt.UTC().Format(time.DateOnly), organization.Name); err != nil {
			return err
		}
	}
	return nil
}

// check returns the key if it exists in the database, and an empty key otherwise. The key in the
// configuration or in the data directory may belong to another database.
func (k adminKey) check(ctx context.Context, authenticator *auth.Auth, log *slog.Logger) (adminKey, error) {
	if k.text == "" {
		return adminKey{}, nil
	}
	_, err := authenticator.Authenticate(ctx, "Api-Key "+k.text)
	if !apperr.Is(err, apperr.Unauthorized) {
		return k, err
	}
	if k.path == "" {
		log.Warn("ignore PARLEY_BOOTSTRAP_KEY: no organization has this key, and new keys are accepted at the first start only")
	}
	return adminKey{}, nil
}

// shell returns the key as a word of a shell command. A key that this start has not generated is not printed: the
// word refers to it, because the output of a server often ends in a log.
func (k adminKey) shell() string {
	switch {
	case k.isGenerated:
		return "'Authorization: Api-Key " + k.text + "'"
	case k.path != "":
		return `"Authorization: Api-Key $(cat '` + strings.ReplaceAll(k.path, "'", `'\''`) + `')"`
	}
	return `"Authorization: Api-Key $PARLEY_BOOTSTRAP_KEY"`
}

// printReady prints the address of the server and, if the admin key is known, a first request.
func printReady(out io.Writer, address net.Addr, key adminKey) {
	host, port, _ := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	base := "http://" + net.JoinHostPort(host, port)
	text := fmt.Sprintf("Parley is ready at %s (reference: %s/docs)\n", base, base)
	if key.isGenerated {
		text += fmt.Sprintf("The admin key is shown this once, and kept in %s\n", key.path)
	}
	if key.text != "" {
		text += fmt.Sprintf("Try it:\n\n  curl -s %s/api/chatbots/parley/completions/ -H %s -H 'Content-Type: application/json' -d '{\"message\":{\"content\":\"What is Parley?\"}}'\n\n", base, key.shell())
	}
	_, _ = fmt.Fprint(out, text) // the server works even if nobody reads this
}
