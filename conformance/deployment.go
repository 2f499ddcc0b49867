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

// deployment is what is asked, and what the checks share.
type deployment struct {
	config Config
	http   *http.Client
	seen   *answers // all that was answered
	scheme string   // of the header Authorization
	scopes []string // of the key
	run    string   // tells what this run has made from what others have

	userKeys  []string // of users of the run's own; empty: all is asked as the key's own user
	limitsKey string   // of the user whose rate limits may be used up
	bot, slug string   // of the bot that is conversed with; the slug only where it is the run's own
	hasScript bool     // it is the run's own, and says what script says

	mu     sync.Mutex
	things []thing // that the run has made, in that order

	recording sync.Mutex
	recorded  string // a bot with records, once a check has needed one
}

// thing is something that is to be deleted.
type thing struct {
	what, path string
}

// conversing are how many users of its own a run has where it may make keys: its messages and lists then fit into the
// rate limits that a deployment has by default.
const conversing = 4

// meet finds out whether the deployment can be asked, and what the key may do.
func meet(ctx context.Context, config Config) (*deployment, error) {
	seen, err := newAnswers(config.BaseURL)
	if err != nil {
		return nil, err
	}
	d := &deployment{config: config, http: newHTTP(), seen: seen, run: strings.ToLower(rand.Text()[:8])}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	d.seen.document = d.fetchDocument(ctx)
	for _, d.scheme = range []string{"Api-Key", "Bearer"} { // a proxy may know only the second
		me, status, err := d.whoAmI(ctx)
		if err != nil {
			return nil, err
		}
		switch status {
		case http.StatusOK:
			for _, scope := range me["scopes"].([]any) {
				d.scopes = append(d.scopes, fmt.Sprint(scope))
			}
			if !d.has("chat") && !d.has("agent") {
				return nil, errors.New("the key may not converse: it has neither of the scopes chat and agent")
			}
			return d, nil
		case http.StatusUnauthorized:
		default:
			return nil, fmt.Errorf("GET /api/me/ is answered with %d", status)
		}
	}
	return nil, errors.New("GET /api/me/ is answered with 401: the key is not valid there, or something on the way drops the header Authorization")
}

// whoAmI asks for the key's scopes.
func (d *deployment) whoAmI(ctx context.Context) (me object, status int, err error) {
	t := &trial{deployment: d, ctx: ctx}
	err = d.attempt(t, func() {
		got := caller{t, d.config.Key}.get("/api/me/")
		if status = got.status; status == http.StatusOK {
			me = got.gives(http.StatusOK)
			t.must(len(me.list("scopes")) > 0, "GET /api/me/ tells no scopes: %s", got.excerpt())
		}
	})
	return me, status, err
}

// attempt runs what may fail as a check does, outside of one.
func (d *deployment) attempt(t *trial, do func()) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer t.recover()
		do()
	}()
	<-done
	if len(t.wrongs) > 0 {
		return errors.New(t.wrongs[0])
	}
	return nil
}

// has tells whether the key has a scope.
func (d *deployment) has(scope string) bool {
	return slices.Contains(d.scopes, scope) || slices.Contains(d.scopes, "admin")
}

// prepare makes what all checks share: a bot that says what the script has it say, and users of the run's own.
func (d *deployment) prepare(ctx context.Context) error {
	t := &trial{deployment: d, ctx: ctx}
	return d.attempt(t, func() {
		if !d.has("manage") {
			d.bot = t.defaultBot()
			return
		}
		slot := t.takeSlot()
		if d.hasScript = true; !d.has("admin") {
			return
		}
		for i := range conversing {
			d.userKeys = append(d.userKeys, t.newKey(fmt.Sprintf("%s-%d", slot, i+1), "chat"))
			t.noteContact(caller{t, d.userKeys[i]})
		}
		d.limitsKey = t.newKey(slot+"-limits", "chat")
	})
}

// maxRuns is how many runs there may be at a time.
const maxRuns = 100

// takeSlot makes the run's bot, whose slug no other run has, and returns it. It begins the names of the run's users too:
// users cannot be deleted, so that there must not be new ones for each run, and two runs must not share any.
func (t *trial) takeSlot() string {
	for i := range maxRuns {
		slug := fmt.Sprintf("parley-conformance-%d", i+1)
		got := t.tryBot(slug)
		if got.status == http.StatusConflict {
			continue
		}
		t.bot, t.slug = got.gives(http.StatusCreated).str("id"), slug
		return slug
	}
	t.fail("there are %d chatbots of other runs; those of runs that were killed can be deleted", maxRuns)
	return ""
}

// newKey makes a key for a user, which ends soon after the run at the latest.
func (t *trial) newKey(user string, scopes ...string) string {
	body := object{"name": "parley conformance " + t.run, "user": user, "scopes": scopes, "expiresAt": time.Now().Add(t.config.Timeout + 10*time.Minute).UTC().Format(time.RFC3339)}
	key := t.owner().post("/api/api-keys/", body).gives(http.StatusCreated)
	t.made("the API key "+key.str("prefix"), "/api/api-keys/"+key.str("id")+"/")
	return key.str("key")
}

// newBot makes a bot that says what script says, and returns its id.
func (t *trial) newBot(what string) string {
	return t.tryBot(fmt.Sprintf("conformance-%s-%s", t.run, what)).gives(http.StatusCreated).str("id")
}

func (t *trial) tryBot(slug string) answer {
	got := t.owner().post("/api/chatbots/", object{"name": "parley conformance " + t.run, "slug": slug, "engine": "scripted", "script": script})
	if got.status == http.StatusCreated {
		t.made("the chatbot "+slug, "/api/chatbots/"+got.json().str("id")+"/")
	}
	return got
}

// defaultBot finds the default bot's id by a conversation with it.
func (t *trial) defaultBot() string {
	id := t.owner().start()
	return t.owner().get("/api/conversations/" + id + "/").gives(http.StatusOK).obj("chatbot").str("id")
}

// noteContact has the contact that a user of the run's own becomes by conversing deleted at the end.
func (t *trial) noteContact(who caller) {
	contact := who.get("/api/conversations/" + who.start() + "/").gives(http.StatusOK).obj("contact")
	t.made("the contact "+contact.str("name"), "/api/contacts/"+contact.str("id")+"/")
}

// made has something deleted at the end.
func (d *deployment) made(what, path string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.things = append(d.things, thing{what, path})
}

// cleanTime bounds the deleting.
const cleanTime = 30 * time.Second

// cleanUp deletes what was made, the newest first, and names what is left.
func (d *deployment) cleanUp(ctx context.Context) (left []string) {
	ctx, cancel := context.WithTimeout(ctx, cleanTime)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range slices.Backward(d.things) {
		t := &trial{deployment: d, ctx: ctx}
		err := d.attempt(t, func() {
			got := t.owner().call(http.MethodDelete, one.path, nil)
			t.must(got.status == http.StatusNoContent || got.status == http.StatusNotFound, "%s: %d %s", got.asked, got.status, got.excerpt())
		})
		if err != nil {
			left = append(left, fmt.Sprintf("%s (%v)", one.what, err))
		}
	}
	d.http.CloseIdleConnections()
	return left
}

// owner is whose key the suite was given.
func (t *trial) owner() caller { return caller{t, t.config.Key} }

// user is somebody who converses.
func (t *trial) user() caller {
	if len(t.userKeys) == 0 {
		return t.owner()
	}
	return caller{t, t.userKeys[t.index%len(t.userKeys)]}
}

// another is another user than user.
func (t *trial) another() caller {
	if len(t.userKeys) == 0 {
		t.skip("it needs a second user, and the key, without the scope admin, may not make one")
	}
	return caller{t, t.userKeys[(t.index+1)%len(t.userKeys)]}
}

// nobody has no key.
func (t *trial) nobody() caller { return caller{t: t} }

// scripted skips a check where the bot says what it likes.
func (t *trial) scripted() {
	if !t.hasScript {
		t.skip("it needs a scripted chatbot, and the key, without the scope manage, may not make one")
	}
}
