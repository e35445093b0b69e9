-- Pushes from WeChat: the raw body, sealed as in the vaults, what it was, what came of it, and how its relay to the
-- integrator's own back end goes. Kept for a time only. Columns stand from the widest down, so that none is padded.
create table push (
    -- in order of arrival within a log: pushes are written under the lock on the log's head
    id             bigint   generated always as identity,
    received_at    bigint   not null,
    -- WeChat repeats what it got no answer to
    last_seen_at   bigint   not null,
    -- When a node may take it for relaying: while it waits, when it is due; while it is leased, when the lease ends.
    -- Null when it is not to be relayed (any more), and while it waits behind an earlier push of the same subject:
    -- whoever ends that one gives this one a time.
    relay_due_at   bigint,
    -- the first half of a hash of what was pushed
    key            uuid     not null,
    log            integer  not null,
    -- how often it came
    seen           integer  not null default 1,
    -- attempts begun
    relay_attempts integer  not null default 0,
    -- 0 popup, 1 change, 2 sent, 3 other, 4 undecodable
    kind           smallint not null,
    -- 0 plaintext, 1 compatible, 2 secure
    mode           smallint not null,
    -- 0 XML, 1 JSON, 2 neither
    format         smallint not null,
    -- 0 pending, 1 acted, 2 ignored, 3 undecodable, 4 failed
    state          smallint not null,
    -- 0 not to be relayed, 1 waiting, 2 leased, 3 done, 4 given up
    relay          smallint not null,
    -- whose; empty if it names nobody
    subject        bytea    not null check (length(subject) in (0, 16)),
    -- WeChat's word for it
    event          text     collate "C" not null,
    -- what came of it, JSON
    effect         text,
    -- who holds the lease
    relay_node     text,
    -- what the newest ended attempt came to: an HTTP status or the class of an error
    relay_status   text     collate "C",
    sealed         bytea    not null,
    primary key (log, id)
) with (fillfactor = 90);

-- As for all sealed values: no statistics, which would hold samples that outlive an erasure.
alter table push alter column sealed set statistics 0;

-- Every push writes the key above and the four indexes below. Two of them grow at their end only (age, and kind at the end
-- of each kind); the other two are what finding one push, and everything of one person, cannot do without.

-- one push; a second one of the same key
create unique index push_key on push (log, key);
-- Everything of one person, to erase it or to show it; and within it what is to be relayed, in the order in which that is
-- done: the leased one, then those that wait, as they came.
create index push_subject on push (log, subject, relay desc, id);
-- lists by kind; counts, without reading the rows
create index push_kind on push (log, kind, id, state);
-- what retention may delete, by age, across logs
create index push_age on push (received_at) where state <> 0 and relay not in (1, 2);

-- The others hold what is out of the ordinary, and what is to be relayed where that is wanted.

-- what was not acted on yet, and what could not be
create index push_odd on push (state, log, id) where state in (0, 3, 4);
-- lists and counts of the relay
create index push_relay on push (log, relay, id) where relay <> 0;
-- what a node may take now, across logs; of each subject little more than its first one
create index push_due on push (relay_due_at, id) where relay_due_at is not null;
