package wsapi

import (
	"time"

	"github.com/coder/websocket"
	"github.com/google/uuid"

	"parley/gen/openapi"
	"parley/internal/feed"
)

// SetTimeouts sets the timeouts of the sockets. Call it before the first socket is opened.
func (s *Server) SetTimeouts(pingInterval, pong, write time.Duration) {
	s.Limits.PingInterval, s.Limits.PongTimeout, s.Limits.WriteTimeout = pingInterval, pong, write
}

// ParseFrame parses a text frame of a client that watches a session.
func ParseFrame(session uuid.UUID, data []byte) (openapi.ClientMessageFrame, error) {
	s := &socket{watch: &feed.Watch{SessionID: session}}
	return s.parseFrame(websocket.MessageText, data)
}
