-- The same rows in less room, and with fewer pages touched by a commit.
--
-- Numbers of a log's own, of events and of streams, are packed with the number of the log: log * 2^40 + own number. Such a
-- number is an "integer primary key", which SQLite stores once, appends to the end of the table without a search, and packs
-- into full pages.

create table event_compact (
    -- log * 2^40 + position
    place       integer primary key,
    stream      integer not null,
    version     integer not null check (version >= 1),
    -- the event before it in its stream stands so many positions earlier; 0 for the first
    back        integer not null check (back >= 0),
    -- the number of the kind of event; numbers are never reused
    kind        integer not null,
    -- the schema of the payload
    schema      integer not null,
    recorded_at integer not null,
    -- the payload, JSON, byte for byte as it was hashed
    data        text    not null,
    -- who asked and why, JSON, byte for byte as it was hashed
    cause       text    not null,
    -- blake3 (previous link, canonical record)
    link        blob    not null,
    -- the two halves of the place, for people; searches name the place
    log         integer generated always as (place >> 40) virtual,
    position    integer generated always as (place & 0xffffffffff) virtual
) strict;

insert into event_compact (place, stream, version, back, kind, schema, recorded_at, data, cause, link)
    select e.log << 40 | e.position, e.stream, e.version,
           coalesce(e.position - (select b.position from event b
                                  where b.log = e.log and b.stream = e.stream and b.version = e.version - 1), 0),
           e.kind, e.schema, e.recorded_at, e.data, e.cause, e.link
    from event e order by e.log, e.position;

-- The newest event of each stream. From it the way back leads to all others. An index by stream and version did the same
-- for readers, but it held an entry for every event, and nearly every command wrote a page of it that no other command of
-- the batch wrote; there are fewer streams than events, and this row of one is a tenth as long as its name.
create table stream_tip (
    -- log * 2^40 + number of the stream
    stream   integer primary key,
    position integer not null,
    version  integer not null
) strict;

insert into stream_tip (stream, position, version)
    select log << 40 | stream, position, max(version) from event group by log, stream;

drop table event;
alter table event_compact rename to event;

-- Where to begin in a long stream that is read page by page.
create index event_mark on event (stream, version) where version & 63 = 0;

-- Receipts are found by the first half of the BLAKE3 of their command id, and compared by the first half of the body's:
-- an id is up to 300 bytes long. SQL cannot hash the ids that are there, so the receipts go: no release has been made that
-- anybody could have got one from.
drop table receipt;
create table receipt (
    -- in order of arrival, across logs: age needs no index
    number      integer primary key,
    log         integer not null,
    -- of the command id
    key         blob    not null check (length(key) = 16),
    -- of the canonical body: the same id with another body is refused
    fingerprint blob    not null check (length(fingerprint) = 16),
    -- the answer, JSON
    outcome     text    not null,
    position    integer not null,
    recorded_at integer not null
) strict;

-- What finds a receipt by its key: the first half of the key and the number. Receipts are filed here some time after they
-- were made, in order of their keys; those that are not are among the newest.
create table receipt_key (
    prefix blob    not null,
    number integer not null,
    primary key (prefix, number)
) strict, without rowid;

-- All receipts up to this number are filed.
create table receipt_filed (
    id     integer primary key check (id = 1),
    number integer not null
) strict;
insert into receipt_filed (id, number) values (1, 0);
