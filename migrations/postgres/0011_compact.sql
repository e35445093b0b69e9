-- What is written for every command takes less room.

-- Receipts are found by the first half of the BLAKE3 of their command id, and compared by the first half of the body's:
-- an id is up to 300 bytes long and stood both in the table and in its index. SQL cannot hash the ids that are there, so the
-- receipts go: no release has been made that anybody could have got one from.
--
-- `uuid` is 16 bytes without a length before them. Columns stand by size, so that none of them is padded.
drop table receipt;
create table receipt (
    position    bigint  not null,
    recorded_at bigint  not null,
    log         integer not null,
    -- of the command id
    key         uuid    not null,
    -- of the canonical body: the same id with another body is refused
    fingerprint uuid    not null,
    -- the answer, JSON
    outcome     text    not null,
    primary key (log, key)
);
-- receipts by age, across logs. They are written in order of age, so a summary of each stretch of pages says where the old
-- ones are, and a receipt costs no entry of its own.
create index receipt_age on receipt using brin (recorded_at) with (pages_per_range = 32, autosummarize = on);
