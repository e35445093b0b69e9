-- Pushes from WeChat: the raw body, sealed as in the vaults, what it was, what came of it, and how its relay to the
-- integrator's own back end goes. Kept for a time only.
create table push (
    -- log * 2^40 + id; ids grow in order of arrival, across logs
    place          integer primary key,
    -- Once more by itself: an index that holds what is computed is not enough to answer from.
    log            integer not null,
    -- the first half of a hash of what was pushed
    key            blob    not null check (length(key) = 16),
    -- whose; empty if it names nobody
    subject        blob    not null check (length(subject) in (0, 16)),
    received_at    integer not null,
    -- WeChat repeats what it got no answer to
    last_seen_at   integer not null,
    -- how often it came
    seen           integer not null default 1,
    -- 0 popup, 1 change, 2 sent, 3 other, 4 undecodable
    kind           integer not null,
    -- 0 plaintext, 1 compatible, 2 secure
    mode           integer not null,
    -- 0 XML, 1 JSON, 2 neither
    format         integer not null,
    -- 0 pending, 1 acted, 2 ignored, 3 undecodable, 4 failed
    state          integer not null,
    -- 0 not to be relayed, 1 waiting, 2 leased, 3 done, 4 given up
    relay          integer not null,
    -- attempts begun
    relay_attempts integer not null default 0,
    -- When it may be taken for relaying: while it waits, when it is due; while it is leased, when the lease ends. Null when
    -- it is not to be relayed (any more), and while it waits behind an earlier push of the same subject: whoever ends that
    -- one gives this one a time.
    relay_due_at   integer,
    -- WeChat's word for it
    event          text    not null,
    -- what came of it, JSON
    effect         text,
    -- who holds the lease
    relay_node     text,
    -- what the newest ended attempt came to: an HTTP status or the class of an error
    relay_status   text,
    sealed         blob    not null,
    id             integer generated always as (place & 0xffffffffff) virtual
) strict;

-- The newest id. Kept by itself, because an id must not be used again after the newest push was deleted: readers remember
-- how far they have come.
create table push_number (
    id     integer primary key check (id = 1),
    number integer not null
) strict;
insert into push_number (id, number) values (1, 0);

-- Every push writes the table and the four indexes below. Two of them grow at their end only (age, and kind at the end of
-- each kind); the other two are what finding one push, and everything of one person, cannot do without. All of them end with
-- the place.

-- one push; a second one of the same key
create unique index push_key on push (log, key);
-- Everything of one person, to erase it or to show it; and within it what is to be relayed, in the order in which that is
-- done: the leased one, then those that wait, as they came.
create index push_subject on push (log, subject, relay desc);
-- lists by kind; counts, without reading the rows
create index push_kind on push (log, kind, place, state);
-- what retention may delete, by age, across logs
create index push_age on push (received_at) where state <> 0 and relay not in (1, 2);

-- The others hold what is out of the ordinary, and what is to be relayed where that is wanted.

-- what was not acted on yet, and what could not be
create index push_odd on push (state, log) where state in (0, 3, 4);
-- lists and counts of the relay
create index push_relay on push (log, relay) where relay <> 0;
-- what may be taken now, across logs; of each subject little more than its first one
create index push_due on push (relay_due_at) where relay_due_at is not null;
