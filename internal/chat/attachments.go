package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"path"

	"github.com/google/uuid"

	"parley/gen/db"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/store"
)

// NewAttachment is an attachment of a message to be stored: a known one by its ID, or a File.
type NewAttachment struct {
	ID       string
	Type     string
	Filename string
	File     string
}

// Attachment is a stored attachment, as messages hold it.
type Attachment struct {
	ID       uuid.UUID `json:"id"`
	Type     string    `json:"type"`
	Filename string    `json:"filename"`
	File     string    `json:"file"`
}

// attach returns the attachments of a new message as they are stored, or nil if it has no attachments.
// Errors refer to them by pointer, their location in the request.
func (c *Chat) attach(ctx context.Context, caller auth.Principal, pointer string, added []NewAttachment) (json.RawMessage, error) {
	if len(added) == 0 {
		return nil, nil
	}
	known, err := c.knownAttachments(ctx, caller, added)
	if err != nil {
		return nil, err
	}
	attachments := make([]Attachment, len(added))
	for i, attachment := range added {
		id, _ := uuid.Parse(attachment.ID) // no attachment has the zero UUID
		if found, ok := known[id]; ok {
			attachments[i] = Attachment{ID: found.ID, Type: found.Type, Filename: found.Filename, File: found.File}
			continue
		}
		if attachments[i], err = newAttachment(fmt.Sprintf("%s/%d", pointer, i), attachment); err != nil {
			return nil, err
		}
	}
	return json.Marshal(attachments)
}

func newAttachment(pointer string, added NewAttachment) (Attachment, error) {
	switch {
	case added.File == "" && added.ID == "":
		return Attachment{}, apperr.Field(apperr.InvalidMessage, pointer, "must have an id or a file")
	case added.File == "":
		return Attachment{}, apperr.Field(apperr.InvalidMessage, pointer+"/id", "refers to an unknown attachment")
	}
	address, err := url.Parse(added.File)
	if err != nil || address.Hostname() == "" || (address.Scheme != "http" && address.Scheme != "https") {
		return Attachment{}, apperr.Field(apperr.InvalidMessage, pointer+"/file", "must be an http or https URL")
	}
	attachment := Attachment{ID: store.NewID(), Type: added.Type, Filename: added.Filename, File: added.File}
	if attachment.Type == "" {
		attachment.Type = "other"
	}
	if attachment.Filename == "" {
		attachment.Filename = baseName(address)
	}
	return attachment, nil
}

// knownAttachments returns the attachments that are named by their IDs and that the caller may use.
func (c *Chat) knownAttachments(ctx context.Context, caller auth.Principal, added []NewAttachment) (map[uuid.UUID]db.Attachment, error) {
	var ids []uuid.UUID
	for _, attachment := range added {
		if id, err := uuid.Parse(attachment.ID); err == nil {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 || caller.IsBound() { // whether an attachment is within the bounds of a token is unknown
		return nil, nil
	}
	found, err := c.store.ListAttachments(ctx, db.ListAttachmentsParams{
		OrganizationID: caller.OrganizationID,
		Ids:            ids,
		UserID:         caller.UserID,
		IsStaff:        caller.IsStaff(),
	})
	if err != nil {
		return nil, err
	}
	known := make(map[uuid.UUID]db.Attachment, len(found))
	for _, attachment := range found {
		known[attachment.ID] = attachment
	}
	return known, nil
}

func baseName(address *url.URL) string {
	if name := path.Base(address.Path); name != "." && name != "/" {
		return name
	}
	return ""
}
