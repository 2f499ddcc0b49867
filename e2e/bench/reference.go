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

// runReference is the reference server: the minimum that can send a message. It decodes the body,
// runs the product's own statement and encodes the result, without authentication, validation,
// limits and logging. It also serves the minimal fan-out. Its input is the URL of the database.
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
	handler := reference{queries: db.New(pool), organization: &organizationID{pool: pool}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/conversations/{id}/messages", handler.send)
	var sockets fanOut
	mux.HandleFunc("GET /ws", sockets.connect)
	mux.HandleFunc("POST /frames", sockets.publish)
	return harness.Serve(ctx, mux, out)
}

type reference struct {
	queries      *db.Queries
	organization *organizationID
}

func (r reference) send(w http.ResponseWriter, request *http.Request) {
	sent, id, err := r.store(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{ // fails if the client has disconnected
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
		UserID:         uuid.MustParse(idOf(userIDs, 0)),
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

// organizationID looks up the only organization of the database and caches it.
type organizationID struct {
	pool   *pgxpool.Pool
	cached atomic.Pointer[uuid.UUID]
}

func (o *organizationID) get(ctx context.Context) (uuid.UUID, error) {
	if id := o.cached.Load(); id != nil {
		return *id, nil
	}
	var id uuid.UUID
	if err := o.pool.QueryRow(ctx, "SELECT id FROM organizations").Scan(&id); err != nil {
		return id, err
	}
	o.cached.Store(&id)
	return id, nil
}
