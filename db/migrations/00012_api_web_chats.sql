-- +goose Up

-- Each API inbox has a web chat with the ID of the inbox, so that conversations can be created in
-- it. Servers of the version before read it like any web chat.
INSERT INTO web_chats (organization_id, id, bot_id, inbox_id, name, access_type)
SELECT i.organization_id, i.id, i.bot_id, i.id, i.name, 'api'
FROM inboxes i
WHERE i.channel_type = 'api'
  AND NOT EXISTS (SELECT FROM web_chats w WHERE w.organization_id = i.organization_id AND w.inbox_id = i.id);
