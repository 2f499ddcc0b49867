-- +goose Up
-- +goose StatementBegin

CREATE INDEX runs_queued_by_time ON runs (organization_id, created_at) WHERE state = 'queued';

DROP INDEX runs_by_lease;
CREATE INDEX runs_by_lease ON runs (lease_until) WHERE state = 'running';

-- A session whose run is over no longer belongs to it while others wait.
UPDATE sessions s SET active_run = NULL
WHERE s.active_run IS NOT NULL
  AND NOT EXISTS (SELECT FROM runs r WHERE r.organization_id = s.organization_id AND r.session_id = s.id AND r.state = 'running');

-- +goose StatementEnd
