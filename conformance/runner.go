package conformance

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// runner is one run against a deployment. All checks share it. It holds what is known about the deployment, and the
// created resources. Its unguarded fields do not change after prepare.
type runner struct {
	config    Config
	http      *http.Client
	validator *validator
	scheme    string   // of the Authorization header
	scopes    []string // of the key
	runID     string   // part of the names of all created resources

	userKeys   []string // of the users that the run created; empty: the checks use the given key
	limitsKey  string   // of a user whose rate limits may be exhausted
	bot, slug  string   // of the chatbot for conversations; the slug is empty if the run did not create it
	isScripted bool     // the run created the chatbot, which follows script

	mu        sync.Mutex
	resources []resource // the created resources, in order

	recordsMu  sync.Mutex
	recordsBot string // a chatbot with records, if a check has needed one
}

// resource is a resource to delete at the end of the run.
type resource struct {
	description, path string
}

// runUsers is the number of users that a run creates if the key allows it. With several users, the requests stay
// below the default rate limits.
const runUsers = 4

// newRunner reads the document and the scopes of the key. It returns an error if the deployment cannot be checked.
func newRunner(ctx context.Context, config Config) (*runner, error) {
	v, err := newValidator(config.BaseURL)
	if err != nil {
		return nil, err
	}
	r := &runner{config: config, http: newHTTPClient(), validator: v, runID: strings.ToLower(rand.Text()[:8])}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	r.validator.document = r.fetchDocument(ctx)
	for _, r.scheme = range []string{"Api-Key", "Bearer"} { // a proxy may forward only the second path
		me, status, err := r.fetchMe(ctx)
		if err != nil {
			return nil, err
		}
		switch status {
		case http.StatusOK:
			for _, scope := range me["scopes"].([]any) {
				r.scopes = append(r.scopes, fmt.Sprint(scope))
			}
			return r, nil
		case http.StatusUnauthorized:
		default:
			return nil, fmt.Errorf("GET /api/me/: status %d", status)
		}
	}
	return nil, errors.New("GET /api/me/: status 401: the key is not valid, or a proxy drops the Authorization header")
}

// fetchMe returns the user and the scopes of the key.
func (r *runner) fetchMe(ctx context.Context) (me object, status int, err error) {
	err = r.attempt(ctx, func(t *checker) {
		got := t.owner().get("/api/me/")
		if status = got.status; status == http.StatusOK {
			me = got.json(http.StatusOK)
			t.require(len(me.list("scopes")) > 0, "GET /api/me/ returns no scopes: %s", got.excerpt())
		}
	})
	return me, status, err
}

// attempt calls a function with the helpers of a check, outside of any check, and returns its first failure.
func (r *runner) attempt(ctx context.Context, fn func(*checker)) error {
	t := &checker{runner: r, ctx: ctx}
	t.do(func() { fn(t) })
	if len(t.failures) > 0 {
		return errors.New(t.failures[0])
	}
	if t.skipped != "" {
		return errors.New(t.skipped)
	}
	return nil
}

// canConverse reports whether the key permits conversations.
func (r *runner) canConverse() bool { return r.hasScope("chat") || r.hasScope("agent") }

// hasScope reports whether the key has a scope.
func (r *runner) hasScope(scope string) bool {
	return slices.Contains(r.scopes, scope) || slices.Contains(r.scopes, "admin")
}

// prepare creates the resources that all checks share, as far as the key permits: a scripted chatbot and users.
func (r *runner) prepare(ctx context.Context) error {
	if !r.canConverse() {
		return nil
	}
	return r.attempt(ctx, func(t *checker) {
		if !r.hasScope("manage") {
			id := t.owner().start()
			r.bot = t.owner().getJSON("/api/conversations/" + id + "/").obj("chatbot").str("id")
			return
		}
		slug := t.claimSlug()
		if r.isScripted = true; !r.hasScope("admin") {
			return
		}
		for i := range runUsers {
			r.userKeys = append(r.userKeys, t.createKey(fmt.Sprintf("%s-%d", slug, i+1), "chat"))
			t.deleteContactLater(client{t, r.userKeys[i]})
		}
		r.limitsKey = t.createKey(slug+"-limits", "chat")
	})
}

// maxRuns bounds the number of concurrent runs against a deployment.
const maxRuns = 100

// claimSlug creates the run's chatbot under a slug that no concurrent run uses. The names of the run's users begin
// with the slug. Users cannot be deleted, so later runs must reuse them, and concurrent runs must not share them.
func (t *checker) claimSlug() string {
	for i := range maxRuns {
		slug := fmt.Sprintf("parley-conformance-%d", i+1)
		got := t.requestBot(slug)
		if got.status == http.StatusConflict {
			continue
		}
		t.bot, t.slug = got.json(http.StatusCreated).str("id"), slug
		return slug
	}
	t.fatalf("%d chatbots of other runs exist; delete those of runs that were killed", maxRuns)
	return ""
}

// createKey creates a key for a user. It expires soon after the run.
func (t *checker) createKey(user string, scopes ...string) string {
	expiresAt := time.Now().Add(t.config.Timeout + 10*time.Minute).UTC().Format(time.RFC3339)
	key := t.owner().create("/api/api-keys/", object{"name": "parley conformance " + t.runID, "user": user, "scopes": scopes, "expiresAt": expiresAt})
	t.deleteLater("the API key "+key.str("prefix"), "/api/api-keys/"+key.str("id")+"/")
	return key.str("key")
}

// createBot creates a scripted chatbot and returns its ID.
func (t *checker) createBot(purpose string) string {
	return t.requestBot(fmt.Sprintf("conformance-%s-%s", t.runID, purpose)).json(http.StatusCreated).str("id")
}

func (t *checker) requestBot(slug string) response {
	got := t.owner().post("/api/chatbots/", object{"name": "parley conformance " + t.runID, "slug": slug, "engine": "scripted", "script": script})
	if got.status == http.StatusCreated {
		t.deleteLater("the chatbot "+slug, "/api/chatbots/"+got.object().str("id")+"/")
	}
	return got
}

// createWebChat creates a web chat of the run's chatbot.
func (t *checker) createWebChat() object {
	webChat := t.owner().create("/api/web-chats/", object{"name": "conformance " + t.runID, "chatbot": t.bot})
	t.deleteLater("the web chat "+webChat.str("name"), "/api/web-chats/"+webChat.str("id")+"/")
	return webChat
}

// deleteContactLater deletes the contact of a user at the end of the run. The contact is created when the user starts
// a conversation.
func (t *checker) deleteContactLater(user client) {
	contact := user.getJSON("/api/conversations/" + user.start() + "/").obj("contact")
	t.deleteLater("the contact "+contact.str("name"), "/api/contacts/"+contact.str("id")+"/")
}

// deleteLater deletes a resource at the end of the run.
func (r *runner) deleteLater(description, path string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.resources = append(r.resources, resource{description, path})
}

const cleanUpTimeout = 30 * time.Second

// cleanUp deletes the created resources, newest first, and returns those that it could not delete.
func (r *runner) cleanUp(ctx context.Context) (notDeleted []string) {
	ctx, cancel := context.WithTimeout(ctx, cleanUpTimeout)
	defer cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, created := range slices.Backward(r.resources) {
		err := r.attempt(ctx, func(t *checker) {
			got := t.owner().call(http.MethodDelete, created.path, nil)
			if got.status == http.StatusBadGateway { // the proxy lost its connection; repeating a DELETE is safe
				got = t.owner().call(http.MethodDelete, created.path, nil)
			}
			t.require(got.status == http.StatusNoContent || got.status == http.StatusNotFound, "%s: status %d: %s", got.request, got.status, got.excerpt())
		})
		if err != nil {
			notDeleted = append(notDeleted, fmt.Sprintf("%s (%v)", created.description, err))
		}
	}
	r.http.CloseIdleConnections()
	return notDeleted
}

// owner returns the client with the given key.
func (t *checker) owner() client { return client{t, t.config.Key} }

// userAt returns the client of one of the run's users, or of the owner if the run has no users.
func (t *checker) userAt(index int) client {
	if len(t.userKeys) == 0 {
		return t.owner()
	}
	return client{t, t.userKeys[index%len(t.userKeys)]}
}

// otherUser returns the client of a second user.
func (t *checker) otherUser() client {
	if len(t.userKeys) == 0 {
		t.skipf("the check needs a second user, and the key without the scope admin cannot create one")
	}
	return t.userAt(t.index + 1)
}

// anonymous returns a client without a key.
func (t *checker) anonymous() client { return client{t: t} }

// needScript skips the check unless the chatbot follows script.
func (t *checker) needScript() {
	if !t.isScripted {
		t.skipf("the check needs a scripted chatbot, and the key without the scope manage cannot create one")
	}
}
