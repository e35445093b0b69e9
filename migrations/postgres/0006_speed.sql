-- The version of a stream is that of its newest event, which the index event_stream finds in one seek. Keeping it here as
-- well cost an update for every event.
alter table stream drop column version;

-- These names are compared byte by byte and never sorted for people: other collations only make their indexes slower.
alter table stream alter column name type text collate "C";
alter table receipt alter column id type text collate "C";
