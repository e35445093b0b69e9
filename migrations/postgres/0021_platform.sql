-- Third-party platforms: what changes too often for the log, and secrets that are replaced at every use.

-- The newest ticket of each platform. WeChat pushes one every ten minutes; each replaces the one before it.
create table platform (
    component_appid text collate "C" not null primary key,
    -- sealed; null until the first one came
    ticket          bytea,
    -- WeChat's time of it, in seconds: an older one never replaces a newer one
    ticket_dated    bigint  not null default 0,
    received_at     bigint,
    -- how many came
    tickets         bigint  not null default 0,
    -- when WeChat was last asked to push them
    asked_at        bigint,
    check ((ticket is null) = (received_at is null))
);

-- Authorizations that were begun here: a link was handed out, and somebody is to scan it.
create table platform_authorization (
    id              bytea not null primary key check (length(id) = 16),
    component_appid text collate "C" not null,
    -- the channel that is to be authorized
    channel         text collate "C" not null,
    -- keyed hash of our own state in the redirect
    state_hash      bytea not null unique check (length(state_hash) = 16),
    -- keyed hash of WeChat's pre-auth code, which the push names
    preauth_hash    bytea not null unique check (length(preauth_hash) = 16),
    -- keyed hash of whose repetition leads here; null if none is to
    request_hash    bytea unique check (length(request_hash) = 16),
    -- state and pre-auth code, sealed; null once it has ended
    sealed          bytea,
    created_at      bigint  not null,
    expires_at      bigint  not null,
    -- 0 waiting, 1 authorized, 2 refused
    status          bigint  not null default 0 check (status between 0 and 2),
    -- what it came to, short JSON
    outcome         text collate "C",
    ended_at        bigint,
    check ((status = 0) = (ended_at is null))
);

-- Authorization codes that came by redirect or push. A code is good once, and both ways may carry the same one.
create table platform_code (
    component_appid text collate "C" not null,
    -- keyed hash of the code
    code            bytea not null check (length(code) = 16),
    -- the code, sealed; null once it was used up
    sealed          bytea,
    -- the authorization begun here that it belongs to, if one
    begun           bytea,
    -- the Mini Program, if it is known
    appid           text collate "C",
    -- WeChat's time of the push that told of it, in seconds; of a redirect, ours
    dated           bigint  not null,
    received_at     bigint  not null,
    expires_at      bigint  not null,
    -- 0 waiting, 1 carried out, 2 refused
    status          bigint  not null default 0 check (status between 0 and 2),
    -- what it came to, short JSON
    outcome         text collate "C",
    tries           bigint  not null default 0,
    due_at          bigint  not null,
    primary key (component_appid, code)
);
create index platform_code_due on platform_code (due_at) where status = 0;

-- The Mini Programs that were authorized, each with its refresh token. WeChat hands out another token now and then, and
-- the one before it stops working; so each write names the version it replaces.
create table authorizer (
    component_appid text collate "C" not null,
    appid           text collate "C" not null,
    -- the channel, once it has one
    channel         text collate "C",
    -- sealed; null if WeChat told of none, or once the authorization is lost
    refresh_token   bytea,
    -- grows by one with each write
    version         bigint  not null check (version >= 1),
    obtained_at     bigint  not null,
    -- WeChat's time of the authorization, in seconds: an older loss never undoes it
    dated           bigint  not null,
    primary key (component_appid, appid)
);
create index authorizer_appid on authorizer (appid);
create index authorizer_channel on authorizer (channel);

-- The third-party platform a channel was authorized to, as JSON; null where it never was. Rows that are there stay as they are.
alter table channels add column platform text collate "C";
