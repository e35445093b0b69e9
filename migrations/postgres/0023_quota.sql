-- WeChat's daily quota: what it said of it, and bulk deliveries apart from single ones.

-- What WeChat said, by channel; a few days of it are kept.
create table quota_sample (
    log          integer not null,
    -- when it was asked
    read_at      bigint  not null,
    -- sends a day, made and left, by WeChat's count of everybody's calls for the account
    day_limit    bigint  not null check (day_limit >= 0),
    used         bigint  not null check (used >= 0),
    remain       bigint  not null check (remain >= 0),
    -- sends we had begun since that day began: the count against which later ones are counted
    ours         bigint  not null check (ours >= 0),
    -- calls allowed within so many seconds, where WeChat says so
    rate_calls   bigint,
    rate_seconds bigint,
    primary key (log, read_at),
    check ((rate_calls is null) = (rate_seconds is null))
);

-- How asking goes, by channel.
create table quota_poll (
    log       integer primary key,
    -- when it was last tried
    polled_at bigint  not null,
    -- tries in a row that failed; 0 if the last one came through
    failures  bigint  not null,
    -- WeChat's code and a word for the last failure
    errcode   bigint,
    failure   text,
    check ((failures = 0) = (failure is null))
);

-- Whether a delivery is one of many: those wait when the quota runs short.
alter table queue add column bulk smallint not null default 0 check (bulk in (0, 1));
-- claims of single deliveries while the others are held
create index queue_single on queue (log, due_at, message, idx) where state = 0 and bulk = 0;
