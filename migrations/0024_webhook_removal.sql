-- The removal of a webhook deletes the messages that wait for it, which an index finds. Through the foreign key, Postgres read
-- every message ever sent. Finished messages are deleted with their events.
alter table webhook_message drop constraint webhook_message_endpoint_id_fkey;
