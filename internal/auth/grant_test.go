package auth_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/auth"
	"parley/internal/dbtest"
	"parley/internal/fault"
	"parley/internal/secret"
)

// A ticket can be taken once, within its time, and not by guessing.
func TestATicketIsTakenOnceInItsTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tickets := auth.NewTickets()
		put := func(ticket string) {
			if err := tickets.Put(t.Context(), ticket, []byte("value of "+ticket), time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		take := func(ticket string) string {
			value, err := tickets.Take(t.Context(), ticket)
			if err != nil {
				t.Fatal(err)
			}
			return string(value)
		}
		put("a")
		put("b")
		time.Sleep(time.Minute - 1)
		put("c")
		if got := []string{take("a"), take("a"), take(""), take("A")}; fmt.Sprint(got) != fmt.Sprint([]string{"value of a", "", "", ""}) {
			t.Errorf("%q", got)
		}
		time.Sleep(time.Nanosecond)
		if got := []string{take("b"), take("c")}; got[0] != "" || got[1] != "value of c" {
			t.Errorf("after a minute: %q", got)
		}
	})
}

// Tickets that are not taken take no memory for long: their number is bounded, and room is made when their time is over.
func TestTicketsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tickets := auth.NewTickets()
		put := func(i int) error { return tickets.Put(t.Context(), fmt.Sprint(i), nil, time.Minute) }
		for i := range 100_000 {
			if err := put(i); err != nil {
				t.Fatal(i, err)
			}
		}
		if err := put(-1); !fault.Is(err, fault.Unavailable) {
			t.Errorf("one more: %v", err)
		}
		time.Sleep(time.Minute)
		if err := put(-1); err != nil {
			t.Errorf("after a minute: %v", err)
		}
	})
}

// Of fifty who take a ticket at once one gets it.
func TestATicketIsTakenByOne(t *testing.T) {
	t.Parallel()
	tickets := auth.NewTickets()
	if err := tickets.Put(t.Context(), "a", []byte("value"), time.Minute); err != nil {
		t.Fatal(err)
	}
	var taken atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if value, _ := tickets.Take(t.Context(), "a"); value != nil {
				taken.Add(1)
			}
		})
	}
	all.Wait()
	if taken.Load() != 1 {
		t.Errorf("%d got it", taken.Load())
	}
}

// A client token is known as long as the key that signed it, which may be no longer the first one.
func TestAClientTokenOutlivesTheRotationOfItsKey(t *testing.T) {
	t.Parallel()
	s := dbtest.Open(t)
	old, fresh := secret.NewKey(), secret.NewKey()
	with := func(list string) *auth.Auth {
		keys, err := secret.Parse(list)
		if err != nil {
			t.Fatal(err)
		}
		return auth.New(s, auth.WithKeys(keys))
	}
	a := with(old)
	_, key, err := a.CreateKey(t.Context(), organization(t, s, "Acme"), auth.NewKey{Name: "Key", User: "alice", Scopes: []auth.Scope{auth.Admin}})
	if err != nil {
		t.Fatal(err)
	}
	maker, err := a.Authenticate(t.Context(), "Bearer "+key)
	if err != nil {
		t.Fatal(err)
	}
	bounds := auth.Bounds{Conversation: uuid.New(), Bot: uuid.New(), Contact: uuid.New()}
	speaker := uuid.New()
	made, err := a.CreateToken(t.Context(), maker, time.Hour, "https://a.example", nil, func(context.Context, *db.Queries) (auth.Subject, error) {
		return auth.Subject{UserID: speaker, Bounds: bounds}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]*auth.Auth{"as it was": a, "rotated": with(fresh + "," + old)} {
		who, err := other.Authenticate(t.Context(), "bearer "+made.Secret)
		if err != nil || who.UserID != speaker || who.Bounds != bounds || !who.IsClientToken || who.Origin != "https://a.example" || who.KeyID != maker.KeyID ||
			who.Has(auth.Agent) || !who.Has(auth.Chat) || who.IsStaff() || !who.ExpiresAt.Equal(made.ExpiresAt.Truncate(time.Microsecond)) {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
	for name, other := range map[string]*auth.Auth{"forgotten": with(fresh), "without keys": auth.New(s)} {
		if _, err := other.Authenticate(t.Context(), "bearer "+made.Secret); !fault.Is(err, fault.Unauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
