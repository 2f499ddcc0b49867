package wsapi

import (
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/gen/openapi"
	"parley/internal/chat"
)

// BePatient sets how long clients may keep the server waiting, before the first one.
func (s *Sockets) BePatient(pingInterval, ping, write time.Duration) {
	s.Limits.PingInterval, s.Limits.PingPatience, s.Limits.WritePatience = pingInterval, ping, write
}

// Parse reads a text frame of a client that watches a session.
func Parse(session uuid.UUID, data []byte) (openapi.ClientMessageFrame, error) {
	s := &socket{watch: &chat.Watch{SessionID: session}}
	return s.parse(websocket.MessageText, data)
}
