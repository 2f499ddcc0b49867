package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"time"

	"parley/gen/db"
	"parley/gen/openapi"
	"parley/internal/apperr"
	"parley/internal/auth"
	"parley/internal/fair"
	"parley/internal/faq"
	"parley/internal/httpapi/contract"
	"parley/internal/httpapi/paging"
)

// faqHandlers implements the operations of FAQs.
type faqHandlers struct {
	faqs     *faq.FAQs
	arriving *fair.Semaphore // bounds the uploads that arrive in files
	uploads  *fair.Semaphore // bounds the uploads in memory
}

// ListFaqs implements GET /api/chatbots/{chatbotId}/faqs/.
func (h faqHandlers) ListFaqs(ctx context.Context, request openapi.ListFaqsRequestObject) (openapi.ListFaqsResponseObject, error) {
	at := paging.Of(request.Params.Page, request.Params.PageSize, request.Params.Offset)
	rows, count, err := paging.Read(at, func(p paging.Page) ([]db.Faq, int64, error) {
		return h.faqs.List(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, p.Number, p.Size)
	})
	if err != nil {
		return nil, err
	}
	list, err := paging.NewList(ctx, at, rows, count, toAPIFaq)
	return openapi.ListFaqs200JSONResponse(list), err
}

// CreateFaq implements POST /api/chatbots/{chatbotId}/faqs/.
func (h faqHandlers) CreateFaq(ctx context.Context, request openapi.CreateFaqRequestObject) (openapi.CreateFaqResponseObject, error) {
	created, err := h.faqs.Create(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, faq.NewFAQ{
		Question:       request.Body.Question,
		Answer:         request.Body.Answer,
		Labels:         deref(request.Body.Labels),
		IdempotencyKey: contract.IdempotencyKey(ctx, request.Params.IdempotencyKey),
	})
	return openapi.CreateFaq201JSONResponse(toAPIFaq(created)), err
}

// AddFaq implements POST /api/faqs/.
func (h faqHandlers) AddFaq(ctx context.Context, request openapi.AddFaqRequestObject) (openapi.AddFaqResponseObject, error) {
	created, err := h.faqs.Create(ctx, auth.PrincipalOf(ctx).OrganizationID, request.Body.Chatbot, faq.NewFAQ{
		Question:       request.Body.Question,
		Answer:         request.Body.Answer,
		Labels:         deref(request.Body.Labels),
		IdempotencyKey: contract.IdempotencyKey(ctx, request.Params.IdempotencyKey),
	})
	return openapi.AddFaq201JSONResponse(toAPIFaq(created)), err
}

// GetFaq implements GET /api/chatbots/{chatbotId}/faqs/{faqId}/.
func (h faqHandlers) GetFaq(ctx context.Context, request openapi.GetFaqRequestObject) (openapi.GetFaqResponseObject, error) {
	found, err := h.faqs.Get(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, request.FaqID)
	return openapi.GetFaq200JSONResponse(toAPIFaq(found)), err
}

// UpdateFaq implements PATCH /api/chatbots/{chatbotId}/faqs/{faqId}/.
func (h faqHandlers) UpdateFaq(ctx context.Context, request openapi.UpdateFaqRequestObject) (openapi.UpdateFaqResponseObject, error) {
	updated, err := h.faqs.Update(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, request.FaqID, faq.Change{
		Question: request.Body.Question,
		Answer:   request.Body.Answer,
		Labels:   request.Body.Labels,
	})
	return openapi.UpdateFaq200JSONResponse(toAPIFaq(updated)), err
}

// DeleteFaq implements DELETE /api/chatbots/{chatbotId}/faqs/{faqId}/.
func (h faqHandlers) DeleteFaq(ctx context.Context, request openapi.DeleteFaqRequestObject) (openapi.DeleteFaqResponseObject, error) {
	err := h.faqs.Delete(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, request.FaqID)
	return openapi.DeleteFaq204Response{}, err
}

// DeleteFaqs implements POST /api/chatbots/{chatbotId}/faqs/batch-delete/.
func (h faqHandlers) DeleteFaqs(ctx context.Context, request openapi.DeleteFaqsRequestObject) (openapi.DeleteFaqsResponseObject, error) {
	key := contract.IdempotencyKey(ctx, request.Params.IdempotencyKey)
	err := h.faqs.DeleteAll(ctx, auth.PrincipalOf(ctx).OrganizationID, request.ChatbotID, request.Body.Ids, key)
	return openapi.DeleteFaqs204Response{}, err
}

// arrivingUploads bounds the imports that arrive, in temporary files of up to 32 MiB each. The share of
// an organization bounds what its slow uploads can take.
var arrivingUploads = fair.Limits{Size: 128, Share: 16, Waiting: 16, Wait: 20 * time.Second}

// uploadsInMemory bounds the imports, of up to 32 MiB each, that have arrived and are in memory.
var uploadsInMemory = fair.Limits{Size: 8, Share: 2, Waiting: 16, Wait: 20 * time.Second}

func takeUpload(ctx context.Context, from *fair.Semaphore) (release func(), err error) {
	release, err = from.Acquire(ctx, auth.PrincipalOf(ctx).OrganizationID, 1)
	if errors.Is(err, fair.ErrFull) {
		err = &apperr.Error{Kind: apperr.Unavailable, Message: "Too many files of your organization are being uploaded. Retry later.", RetryAfter: 10 * time.Second, Err: err}
	}
	return release, err
}

// ImportFaqs implements POST /api/chatbots/{chatbotId}/faqs/import/.
func (h faqHandlers) ImportFaqs(ctx context.Context, request openapi.ImportFaqsRequestObject) (openapi.ImportFaqsResponseObject, error) {
	arrived, err := takeUpload(ctx, h.arriving)
	if err != nil {
		return nil, err
	}
	defer arrived()
	spooled, err := spoolUpload(request)
	if err != nil {
		return nil, err
	}
	defer spooled.Close()
	release, err := takeUpload(ctx, h.uploads)
	if err != nil {
		return nil, err
	}
	defer release()
	file, err := io.ReadAll(spooled)
	if err != nil {
		return nil, fmt.Errorf("read the upload: %w", err)
	}
	org := auth.PrincipalOf(ctx).OrganizationID
	var imported faq.ImportResult
	if deref(request.Params.DryRun) {
		imported, err = h.faqs.TryImport(ctx, org, request.ChatbotID, file)
	} else {
		key := contract.IdempotencyKeyOfFile(ctx, request.Params.IdempotencyKey, file)
		imported, err = h.faqs.Import(ctx, org, request.ChatbotID, file, key)
	}
	if err != nil {
		return nil, err
	}
	return openapi.ImportFaqs200JSONResponse{
		Created: imported.Created,
		Updated: imported.Updated,
		Skipped: imported.Skipped,
		Errors: each(imported.Errors, func(failed faq.ImportError) openapi.FaqImportError {
			return openapi.FaqImportError{Row: failed.Row, Column: orAbsent(failed.Column), Sheet: orAbsent(failed.Sheet), Detail: failed.Detail}
		}),
		Sheet:          orAbsent(imported.Sheet),
		Encoding:       orAbsent(imported.Encoding),
		IgnoredColumns: each(imported.IgnoredColumns, func(name string) string { return name }),
	}, nil
}

// spoolUpload writes the field `file` of an upload to a temporary file, which has no name and ends when
// it is closed. The contract has bounded its length.
func spoolUpload(request openapi.ImportFaqsRequestObject) (_ *os.File, err error) {
	for {
		part, err := request.Body.NextPart()
		if err == io.EOF { //nolint:errorlint // returned unwrapped
			return nil, apperr.Field(apperr.InvalidRequest, "/file", "is missing")
		}
		if err != nil {
			return nil, uploadError(err)
		}
		if part.FormName() != "file" {
			continue
		}
		file, err := os.CreateTemp("", "parley-upload-")
		if err != nil {
			return nil, fmt.Errorf("create a file for the upload: %w", err)
		}
		_ = os.Remove(file.Name()) // it is open, and ends with the process at the latest
		if _, err := io.Copy(file, part); err != nil {
			_ = file.Close()
			if _, isFile := errors.AsType[*fs.PathError](err); isFile {
				return nil, fmt.Errorf("write the upload: %w", err)
			}
			return nil, uploadError(err)
		}
		_, err = file.Seek(0, io.SeekStart)
		return file, err
	}
}

// uploadError converts an error of the multipart reader. The error handler converts MaxBytesError.
func uploadError(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return apperr.Wrap(apperr.InvalidRequest, "The upload is incomplete or not a multipart form.", err)
}
