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
)

// NewAttachment is what a message brings along: an attachment that is known by its
// ID, or a File.
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

// attach turns what a message brings along, found at pointer in the request, into
// what is stored with it; nothing into nil.
func (c *Chat) attach(ctx context.Context, who auth.Principal, pointer string, wanted []NewAttachment) (json.RawMessage, error) {
	if len(wanted) == 0 {
		return nil, nil
	}
	known, err := c.knownAttachments(ctx, who, wanted)
	if err != nil {
		return nil, err
	}
	attached := make([]Attachment, len(wanted))
	for i, one := range wanted {
		at := fmt.Sprintf("%s/%d", pointer, i)
		id, _ := uuid.Parse(one.ID) // nothing is known by the zero UUID
		if found, ok := known[id]; ok {
			attached[i] = Attachment{ID: found.ID, Type: found.Type, Filename: found.Filename, File: found.File}
			continue
		}
		switch {
		case one.File == "" && one.ID == "":
			return nil, apperr.Field(apperr.InvalidMessage, at, "must have an id or a file")
		case one.File == "":
			return nil, apperr.Field(apperr.InvalidMessage, at+"/id", "is no attachment that is known")
		}
		address, err := url.Parse(one.File)
		if err != nil || address.Hostname() == "" || (address.Scheme != "http" && address.Scheme != "https") {
			return nil, apperr.Field(apperr.InvalidMessage, at+"/file", "must be an http or https URL")
		}
		attached[i] = Attachment{ID: newID(), Type: one.Type, Filename: one.Filename, File: one.File}
		if one.Type == "" {
			attached[i].Type = "other"
		}
		if one.Filename == "" {
			attached[i].Filename = lastPart(address)
		}
	}
	return json.Marshal(attached)
}

func (c *Chat) knownAttachments(ctx context.Context, who auth.Principal, wanted []NewAttachment) (map[uuid.UUID]db.Attachment, error) {
	var ids []uuid.UUID
	for _, one := range wanted {
		if id, err := uuid.Parse(one.ID); err == nil {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 || who.IsBound() { // an attachment does not tell which conversation it was in
		return nil, nil
	}
	found, err := c.store.ListAttachments(ctx, db.ListAttachmentsParams{
		OrganizationID: who.OrganizationID,
		Ids:            ids,
		UserID:         who.UserID,
		IsStaff:        who.IsStaff(),
	})
	if err != nil {
		return nil, err
	}
	known := make(map[uuid.UUID]db.Attachment, len(found))
	for _, one := range found {
		known[one.ID] = one
	}
	return known, nil
}

func lastPart(address *url.URL) string {
	if name := path.Base(address.Path); name != "." && name != "/" {
		return name
	}
	return ""
}
