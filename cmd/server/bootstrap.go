package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/bot"
	"parley/internal/chat"
	"parley/internal/faq"
	"parley/internal/store"
)

const (
	defaultOrganization = "Default"
	adminUser           = "admin"
	keyFile             = "admin-key"
)

// bootstrap makes, on the first start, an organization with an admin key, a default
// bot and a web chat. It returns the admin key where it is known: the given one, or
// the one that was generated and is kept in the data directory.
func bootstrap(ctx context.Context, opened *store.Store, config config) (key string, err error) {
	path := filepath.Join(config.DataDir, keyFile)
	count, err := opened.CountOrganizations(ctx)
	if err != nil {
		return "", fmt.Errorf("look for organizations: %w", err)
	}
	if count > 0 {
		if config.BootstrapKey != "" {
			return config.BootstrapKey, nil
		}
		return readKey(path)
	}
	// Done or not done, the keeping of the key included: a start that is killed is
	// followed by one that is the first again.
	err = opened.WithTx(ctx, func(whole *store.Store) (err error) {
		key, err = furnish(ctx, whole, defaultOrganization, config.BootstrapKey)
		if err != nil || config.BootstrapKey != "" {
			return err
		}
		if err := writeKey(path, key); err != nil {
			return fmt.Errorf("keep the admin key: %w", err)
		}
		return nil
	})
	if apperr.Is(err, apperr.Conflict) {
		// Another instance that starts at the same time was faster.
		return config.BootstrapKey, nil
	}
	if err != nil {
		return "", fmt.Errorf("make the first organization: %w", err)
	}
	return key, nil
}

// useModel has the first organization's default bot answered by the configured model, where there is one.
func useModel(ctx context.Context, opened *store.Store, bots *bot.Bots, config config) error {
	if config.Model.Name == "" {
		return nil
	}
	first, err := opened.GetFirstOrganization(ctx)
	if err != nil {
		return fmt.Errorf("look for the first organization: %w", err)
	}
	answering, err := bots.Default(ctx, first.ID)
	if err != nil {
		return fmt.Errorf("look for the default bot: %w", err)
	}
	if err := bots.UseModel(ctx, answering, config.Model.BaseURL, config.Model.Name, config.Model.APIKey); err != nil {
		return fmt.Errorf("give the default bot its model: %w", err)
	}
	return nil
}

func readKey(path string) (string, error) {
	kept, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the admin key: %w", err)
	}
	return strings.TrimSpace(string(kept)), nil
}

func writeKey(path, key string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(key+"\n"), 0o600)
}

// furnish makes an organization with all it needs: an admin key, a default bot
// that knows something, and a web chat. It returns the key.
func furnish(ctx context.Context, store *store.Store, name, wantedKey string) (string, error) {
	organization, err := store.CreateOrganization(ctx, uuid.Must(uuid.NewV7()), name)
	if err != nil {
		return "", err
	}
	bots := bot.New(store, nil) // they only create
	faqs := faq.New(store, bots)
	made, err := bots.Create(ctx, organization.ID, bot.NewBot{
		Name:              "Parley",
		Slug:              "parley",
		Description:       "Answers questions about Parley.",
		Engine:            "faq",
		Greeting:          "Hello! Ask me anything about Parley.",
		UnanswerableReply: "Sorry, I do not know that. Ask me about Parley, or teach me: import FAQs for this bot.",
		IsDefault:         true,
	})
	if err != nil {
		return "", fmt.Errorf("make the default bot: %w", err)
	}
	for _, entry := range faq.Seed() {
		if _, err := faqs.Create(ctx, organization.ID, made.ID.String(), entry); err != nil {
			return "", fmt.Errorf("teach the default bot: %w", err)
		}
	}
	webChat := chat.WebChat{Name: new("Website")}
	if _, err := chat.New(chat.Config{Store: store, Bots: bots}).CreateWebChat(ctx, organization.ID, webChat, nil); err != nil {
		return "", fmt.Errorf("make the web chat: %w", err)
	}
	_, key, err := auth.New(store).CreateKey(ctx, organization.ID, auth.NewKey{
		Name:   "Admin",
		User:   adminUser,
		Scopes: []auth.Scope{auth.Admin},
		Key:    wantedKey,
	})
	if err != nil {
		return "", fmt.Errorf("make the admin key: %w", err)
	}
	return key, nil
}

func createOrganization(ctx context.Context, opened *store.Store, name string, out io.Writer) error {
	if strings.TrimSpace(name) == "" {
		return errors.New("an organization needs a name")
	}
	var key string
	err := opened.WithTx(ctx, func(whole *store.Store) (err error) {
		key, err = furnish(ctx, whole, name, "")
		return err
	})
	if apperr.Is(err, apperr.Conflict) {
		return fmt.Errorf("there is an organization named %q", name)
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
	for _, one := range organizations {
		if err := printOrganization(out, one); err != nil {
			return err
		}
	}
	return nil
}

func printOrganization(out io.Writer, one db.Organization) error {
	_, err := fmt.Fprintf(out, "%s  %s  %s\n", one.ID, one.CreatedAt.UTC().Format("2006-01-02"), one.Name)
	return err
}

// known returns the key if the database knows it too: the one that is kept, or given
// now, may be another database's.
func known(ctx context.Context, keys *auth.Auth, key string) (string, error) {
	if key == "" {
		return "", nil
	}
	_, err := keys.Authenticate(ctx, "Api-Key "+key)
	if apperr.Is(err, apperr.Unauthorized) {
		return "", nil
	}
	return key, err
}

// announce tells whoever started the server how to talk to it.
func announce(out io.Writer, address net.Addr, key string) {
	host, port, _ := net.SplitHostPort(address.String())
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	base := "http://" + net.JoinHostPort(host, port)
	told := fmt.Sprintf("Parley is ready at %s (reference: %s/docs)\n", base, base)
	if key != "" {
		key = strings.ReplaceAll(key, "'", `'\''`) // for the shell
		told += fmt.Sprintf("Try it:\n\n  curl -s %s/api/chatbots/parley/completions/ -H 'Authorization: Api-Key %s' -H 'Content-Type: application/json' -d '{\"message\":{\"content\":\"What is Parley?\"}}'\n\n", base, key)
	}
	_, _ = fmt.Fprint(out, told) // it serves, whether or not anybody reads this
}
