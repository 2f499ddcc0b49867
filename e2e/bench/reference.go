package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"parley/e2e/harness"
	"parley/gen/db"
)

// runReference serves the least that can be called sending a message: the body is
// decoded, the product's own statement run, and its answer encoded. Nobody is
// asked who they are, nothing is validated, limited or logged. The least of a fan-out
// is beside it.
func runReference(ctx context.Context, in io.Reader, out io.Writer) error {
	url, err := io.ReadAll(in)
	if err != nil {
		return err
	}
	pool, err := pgxpool.New(ctx, string(url))
	if err != nil {
		return err
	}
	defer pool.Close()
	handler := reference{queries: db.New(pool), organization: &organizationOf{pool: pool}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/conversations/{id}/messages", handler.send)
	var fanOut floor
	mux.HandleFunc("GET /ws", fanOut.connect)
	mux.HandleFunc("POST /frames", fanOut.write)
	return harness.Serve(ctx, mux, out)
}

type reference struct {
	queries      *db.Queries
	organization *organizationOf
}

func (r reference) send(w http.ResponseWriter, request *http.Request) {
	sent, id, err := r.store(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	// Who cannot be written to has left.
	_ = json.NewEncoder(w).Encode(map[string]any{
		"message_id": id, "timestamp": sent.CreatedAt, "status": "delivered", "seq": sent.Seq,
	})
}

func (r reference) store(request *http.Request) (db.SendMessageRow, uuid.UUID, error) {
	var body struct{ Content string }
	if err := json.NewDecoder(request.Body).Decode(&body); err != nil {
		return db.SendMessageRow{}, uuid.UUID{}, err
	}
	organization, err := r.organization.get(request.Context())
	if err != nil {
		return db.SendMessageRow{}, uuid.UUID{}, err
	}
	session, err := uuid.Parse(request.PathValue("id"))
	if err != nil {
		return db.SendMessageRow{}, uuid.UUID{}, err
	}
	id := uuid.Must(uuid.NewV7())
	sent, err := r.queries.SendMessage(request.Context(), db.SendMessageParams{
		OrganizationID: organization,
		SessionID:      session,
		UserID:         uuid.MustParse(idOf(users, 0)),
		IsStaff:        true,
		Sender:         "user",
		Reply:          "auto",
		QueueLimit:     20,
		MessageID:      id,
		RunID:          uuid.Must(uuid.NewV7()),
		ReplyID:        uuid.Must(uuid.NewV7()),
		LeaseSeconds:   20,
		Content:        body.Content,
	})
	return sent, id, err
}

// organizationOf finds the one organization of the database, once.
type organizationOf struct {
	pool  *pgxpool.Pool
	found atomic.Pointer[uuid.UUID]
}

func (o *organizationOf) get(ctx context.Context) (uuid.UUID, error) {
	if id := o.found.Load(); id != nil {
		return *id, nil
	}
	var id uuid.UUID
	if err := o.pool.QueryRow(ctx, "SELECT id FROM organizations").Scan(&id); err != nil {
		return id, err
	}
	o.found.Store(&id)
	return id, nil
}
