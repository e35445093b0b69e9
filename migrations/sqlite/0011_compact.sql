-- What is written for every command takes less room.

-- Receipts are found by the first half of the BLAKE3 of their command id, and compared by the first half of the body's:
-- an id is up to 300 bytes long. SQL cannot hash the ids that are there, so the receipts go: no release has been made that
-- anybody could have got one from.
drop table receipt;
create table receipt (
    log         integer not null,
    -- of the command id
    key         blob    not null check (length(key) = 16),
    -- of the canonical body: the same id with another body is refused
    fingerprint blob    not null check (length(fingerprint) = 16),
    -- the answer, JSON
    outcome     text    not null,
    position    integer not null,
    recorded_at integer not null,
    primary key (log, key)
) strict, without rowid;
-- receipts by age, across logs
create index receipt_age on receipt (recorded_at);
