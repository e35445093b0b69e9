-- The version of a stream is that of its newest event, which the index event_stream finds in one seek. Keeping it here as
-- well cost a write to a random page for every event.
alter table stream drop column version;
