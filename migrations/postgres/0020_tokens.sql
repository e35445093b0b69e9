-- Access tokens, one per Mini Program and source, shared by all nodes. What is here is worth nothing without WeChat: a lost
-- row costs one fetch. All times are microseconds since 1970-01-01T00:00:00Z of the database's clock.
create table token (
    appid       text collate "C" not null,
    -- where the token comes from: stable, normal, external, platform
    mode        text collate "C" not null,
    -- number of the token kept; grows with each, and never shrinks. 0: none was ever kept
    version     bigint not null default 0 check (version >= 0),
    sealed      bytea,
    -- when its fetch began
    issued_at   bigint not null default 0,
    expires_at  bigint not null default 0,
    -- since when WeChat is known to refuse it
    refused_at  bigint,
    -- who fetches the next one, and until when that is believed
    holder      text collate "C" not null default '',
    -- fencing number: grows by one with each turn to fetch
    fence       bigint not null default 0 check (fence >= 0),
    lease_until bigint not null default 0,
    -- when the fetches of the last hour began, and the forced ones of the last day: JSON arrays
    begun       text not null default '[]',
    forced      text not null default '[]',
    -- when a fetch was last refused because too many had begun
    spent_at    bigint,
    primary key (appid, mode),
    check ((version = 0) = (sealed is null))
) with (fillfactor = 50);

alter table token alter column sealed set statistics 0;

-- token: where the channel's tokens are asked for, and the last conflict that was suspected, JSON. Null where there is neither.
alter table channels add column token text collate "C";
