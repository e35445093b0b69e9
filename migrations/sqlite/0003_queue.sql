-- The queue of deliveries: small, hot, a row is deleted when its delivery has ended.

create table queue (
    log         integer not null,
    message     blob    not null check (length(message) = 16),
    idx         integer not null check (idx >= 0),
    subject     blob    not null check (length(subject) = 16),
    template    text    not null,
    -- 0 queued, 1 claimed, 2 started, 3 in doubt
    state       integer not null check (state between 0 and 3),
    due_at      integer not null,
    expires_at  integer not null,
    attempts    integer not null,
    -- who holds the lease and until when; while a row waits or is in doubt nobody does
    node        text,
    lease_until integer,
    -- how long the last lease was taken for: starting begins it anew, so that a call has the whole of it
    lease       integer,
    -- when it came into this state
    since       integer not null,
    primary key (log, message, idx),
    check ((lease_until is not null) = (state in (1, 2)))
) strict, without rowid;

-- WeChat refuses concurrent calls for one openid (43108): at most one row of a subject is claimed or started.
create unique index queue_active on queue (log, subject) where state in (1, 2);
-- claims, oldest due first
create index queue_due on queue (log, due_at, message, idx) where state = 0;
-- "is an earlier row of this subject waiting", "is one in doubt"
create index queue_subject on queue (log, subject, due_at);
-- expired leases
create index queue_lease on queue (log, lease_until) where state in (1, 2);
-- the list of doubts
create index queue_doubt on queue (log, message, idx) where state = 3;
-- waiting rows whose time is over
create index queue_expiry on queue (log, expires_at) where state = 0;
