package httpapi_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley/internal/auth"
)

// credential is a way to authenticate: a key with one scope, an expired key, a client token or a ticket.
type credential struct {
	name      string
	scope     auth.Scope // the scopes of the key, or of the key that made the token or ticket
	tokenKind string     // the kind of the client token
	isEnded   bool
	asks      func(op operation) option
}

// credentials returns one credential of each kind, all of one user. The tokens are bound to the resources in own.
func (o organization) credentials(user string, own resourceIDs) []credential {
	o.t.Helper()
	header := func(value string) func(operation) option {
		return func(operation) option { return withHeader("Authorization", value) }
	}
	var all []credential
	for _, value := range schemaOf("Scope").Enum {
		scope := auth.Scope(value.(string))
		all = append(all, credential{name: string(scope), scope: scope, asks: header("Api-Key " + o.as(user, scope).key)})
	}
	for _, ended := range []string{"expired", "revoked"} {
		spare := o.as(user, auth.Admin)
		change := "DELETE FROM api_keys"
		if ended == "expired" {
			change = "UPDATE api_keys SET expires_at = clock_timestamp()"
		}
		prefix, _, _ := strings.Cut(spare.key, ".")
		o.exec(change+" WHERE prefix = $1", prefix)
		all = append(all, credential{name: ended, isEnded: true, asks: header("Bearer " + spare.key)})
	}
	maker := o.as(user, auth.Chat)
	for purpose, body := range map[string]object{
		"conversation": {"conversation": own["conversations"]}, "contact": {"contact": own["contacts"]}, "chatbot": {"chatbot": own["chatbots"], "contact": own["contacts"]},
	} {
		all = append(all, credential{name: "token " + purpose, scope: auth.Chat, tokenKind: purpose, asks: header("Bearer " + maker.token(body))})
	}
	slices.SortStableFunc(all, func(a, b credential) int { return strings.Compare(a.tokenKind, b.tokenKind) })
	return append(all, credential{name: "ticket", scope: auth.Chat, asks: func(op operation) option {
		ticket := text(maker.post("/api/ws-tickets/", object{}), "ticket")
		if op.id != "connect" {
			return withHeader("Authorization", "Bearer "+ticket)
		}
		return func(request *http.Request) {
			request.Header.Del("Authorization")
			query := request.URL.Query()
			query.Set("ticket", ticket)
			request.URL.RawQuery = query.Encode()
		}
	}})
}

// expectedAnswer returns what the document declares for a request with a credential, depending on whose resources the
// request names: the caller's own, a colleague's, another organization's or unknown ones.
func (op operation) expectedAnswer(who credential, whose string, named []string) string {
	isBound, isStaff := who.tokenKind != "", who.scope == auth.Agent || who.scope == auth.Admin
	owned := slices.ContainsFunc(named, func(kind string) bool { return slices.Contains(ownedByUsers, kind) })
	switch {
	case who.isEnded || who.name == "ticket" && op.id != "connect":
		return "401"
	case len(op.scopes) > 0 && who.scope != auth.Admin && !slices.Contains(op.scopes, string(who.scope)), isBound && !op.acceptsToken(who.tokenKind):
		return "403"
	case whose == "own" || len(named) == 0:
		return "2xx"
	case whose == "colleague's" && owned && !isStaff:
		return "403"
	case whose == "colleague's" && isBound && (who.tokenKind != "contact" || slices.Contains(named, "contacts")):
		return "403"
	case whose == "colleague's":
		return "2xx"
	case slices.Equal(named, []string{"contacts"}) && !strings.Contains(op.path, "contacts"):
		return "400" // a contact named in the body
	}
	return "404"
}

// namedKinds returns the kinds of resources whose IDs a request contains. A record has the ID of its run, and belongs to
// no user.
func namedKinds(ids resourceIDs, path string, body any) []string {
	request := path + string(must(json.Marshal(body)))
	var kinds []string
	for kind, id := range ids {
		if kind == "problems" || kind == "runs" && strings.Contains(path, "/records/") {
			continue
		}
		if strings.Contains(request, id) && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// INVARIANT: the access rules are exactly those of the document's x-scopes and x-client-tokens. The test checks every
// combination of operation, credential and owner of the resources. `go test -v -run TestTheMatrix` prints the matrix.
func TestTheMatrixMatchesTheDocument(t *testing.T) {
	t.Parallel()
	s := serve(t)
	o := s.organization()
	foreign := s.organization().as("owner", auth.Admin).createResources()
	manager := o.as("manager", auth.Admin)
	createFor := func(user string) resourceIDs {
		credentials := o.as(user, auth.Agent).tokenTarget("", "")
		credentials["faqs"] = text(manager.post("/api/chatbots/"+credentials["chatbots"]+"/faqs/", object{"question": "Where?", "answer": "Here."}), "id")
		credentials["api-keys"] = text(manager.post("/api/api-keys/", object{"name": "Spare"}), "id")
		credentials["records"] = credentials["runs"]
		return credentials
	}
	var table strings.Builder
	cells := 0
	own := createFor("me")
	credentials := o.credentials("me", own)
	owners := map[string]resourceIDs{"own": own, "colleague's": createFor("colleague"), "another's": foreign, "nobody's": unknownIDs()}
	fmt.Fprintf(&table, "each cell: own, a colleague's, another organization's, nobody's\n%-24s", "")
	for _, credential := range credentials {
		fmt.Fprintf(&table, " %-19s", credential.name)
	}
	for _, op := range operations {
		if !op.isSecured {
			continue
		}
		fmt.Fprintf(&table, "\n%-24s", op.id)
		for i := range credentials {
			credential := credentials[i]
			var row []string
			for _, whose := range []string{"own", "colleague's", "another's", "nobody's"} {
				resources := owners[whose]
				path := op.target(resources, op.filter(resources))
				body := op.inConversation(op.validBody(resources), resources)
				want := op.expectedAnswer(credential, whose, namedKinds(resources, path, body))
				got := op.send(caller{organization: o}, path, body, credential.asks(op))
				if op.id == "batchConversations" && got.status == http.StatusOK {
					got = got.firstResult()
				}
				cells++
				is := fmt.Sprint(got.status)
				if got.status < 300 {
					is = "2xx"
				}
				if row = append(row, is); is != want {
					t.Errorf("%s with %s, of %s: %s, want %s: %s", op.id, credential.name, whose, is, want, got.body)
				}
				if op.deletes() && is == "2xx" {
					owners[whose] = createFor(map[string]string{"own": "me", "colleague's": "colleague"}[whose])
					credentials = o.credentials("me", owners["own"]) // the token's target was deleted
				}
			}
			fmt.Fprintf(&table, " %-19s", strings.Join(row, " "))
		}
	}
	t.Logf("%d cells\n%s", cells, &table)
	if cells < 2500 {
		t.Errorf("only %d cells", cells)
	}
}
