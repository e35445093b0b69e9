//! Access tokens: one node fetches at a time, and nothing older takes the place of anything newer.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use subledger_store::{Store, TokenAsk, TokenClaim, TokenTurn, TokenWish};

use crate::fixture::Db;

const APPID: &str = "wx00000000demo0001";
const MODE: &str = "stable";
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);
const LIFE: Duration = Duration::from_secs(7200);

fn ask(holder: &str, newer_than: u64) -> TokenAsk {
    TokenAsk {
        holder: holder.to_owned(),
        lease: LONG,
        budget: 60,
        newer_than,
        refused: false,
        wish: TokenWish::Any,
    }
}

async fn claim(store: &Store, ask: &TokenAsk) -> TokenClaim {
    store.token_claim(APPID, MODE, ask).await.unwrap().claim
}

async fn turn(store: &Store, ask: &TokenAsk) -> TokenTurn {
    match claim(store, ask).await {
        TokenClaim::Turn(turn) => turn,
        other => panic!("no turn but {other:?}"),
    }
}

async fn keep(store: &Store, turn: &TokenTurn, token: &str, life: Duration) -> bool {
    store.token_keep(APPID, MODE, turn, &SecretString::from(token), life).await.unwrap()
}

/// Number and text of the token that serves.
async fn kept(store: &Store, ask: &TokenAsk) -> (u64, String) {
    match claim(store, ask).await {
        TokenClaim::Kept(token) => (token.version, token.token.expose_secret().to_owned()),
        other => panic!("nothing kept but {other:?}"),
    }
}

/// Lets something short run out: the clock of the test on SQLite, the server's on PostgreSQL.
async fn pass(db: &Db) {
    if db.is_sqlite() {
        db.clock.advance_seconds(1);
    } else {
        tokio::time::sleep(2 * SHORT).await;
    }
}

pub async fn one_fetches_and_all_use_what_was_fetched(db: Db) {
    let (a, b) = (db.open().await, db.open().await);
    let first = turn(&a, &ask("a", 0)).await;
    assert_eq!(first.version(), 1);
    assert!(matches!(claim(&b, &ask("b", 0)).await, TokenClaim::Elsewhere { ends_in } if ends_in <= LONG));
    assert!(keep(&a, &first, "T1", LIFE).await);
    for (store, holder) in [(&a, "a"), (&b, "b")] {
        assert_eq!(kept(store, &ask(holder, 0)).await, (1, "T1".to_owned()));
    }
    // Who needs a newer one than is kept has it fetched.
    let second = turn(&b, &ask("b", 1)).await;
    assert_eq!(second.version(), 2);
    assert_eq!(kept(&a, &ask("a", 0)).await.0, 1, "nobody waits while the old one lives");
    assert!(keep(&b, &second, "T2", LIFE).await);
    assert_eq!(kept(&a, &ask("a", 1)).await, (2, "T2".to_owned()));
    let other = a.token_claim(APPID, "normal", &ask("a", 0)).await.unwrap();
    assert!(matches!(other.claim, TokenClaim::Turn(_)), "modes are apart");
}

pub async fn a_turn_that_ran_out_is_taken_over_and_its_token_refused(db: Db) {
    let store = db.open().await;
    let slow = turn(&store, &TokenAsk { lease: SHORT, ..ask("slow", 0) }).await;
    pass(&db).await;
    let quick = turn(&store, &ask("quick", 0)).await;
    assert!(!keep(&store, &slow, "OLD", LIFE).await, "somebody had a turn since");
    assert!(keep(&store, &quick, "NEW", LIFE).await);
    assert!(!keep(&store, &slow, "OLD", LIFE).await);
    assert!(!keep(&store, &quick, "AGAIN", LIFE).await, "one token a turn");
    assert_eq!(kept(&store, &ask("a", 0)).await, (1, "NEW".to_owned()));
    // Late, but nobody came in between: it is the newest there is.
    let late = turn(&store, &TokenAsk { lease: SHORT, ..ask("late", 1) }).await;
    pass(&db).await;
    assert!(keep(&store, &late, "LATE", LIFE).await);
    assert_eq!(kept(&store, &ask("a", 0)).await, (2, "LATE".to_owned()));
}

pub async fn a_turn_that_is_given_up_is_free_at_once(db: Db) {
    let store = db.open().await;
    let first = turn(&store, &ask("a", 0)).await;
    store.token_give_up(APPID, MODE, &first).await.unwrap();
    let second = turn(&store, &ask("b", 0)).await;
    store.token_give_up(APPID, MODE, &first).await.unwrap();
    assert!(
        matches!(claim(&store, &ask("c", 0)).await, TokenClaim::Elsewhere { .. }),
        "who has no turn gives none up"
    );
    assert!(!keep(&store, &first, "T", LIFE).await);
    assert!(keep(&store, &second, "T", LIFE).await);
}

pub async fn only_the_token_that_was_refused_is_replaced(db: Db) {
    let store = db.open().await;
    let first = turn(&store, &ask("a", 0)).await;
    assert!(keep(&store, &first, "T1", LIFE).await);
    let refused = |holder: &str| TokenAsk { refused: true, ..ask(holder, 1) };
    let claimed = store.token_claim(APPID, MODE, &refused("a")).await.unwrap();
    let TokenClaim::Turn(second) = claimed.claim else { panic!("{claimed:?}") };
    let (age, life) = claimed.first_refused.unwrap();
    assert!(age < LONG && life == LIFE);
    // Everybody else has the same news, and the one that knows none does not get the refused one.
    let again = store.token_claim(APPID, MODE, &refused("b")).await.unwrap();
    assert!(again.first_refused.is_none(), "told once");
    assert!(matches!(again.claim, TokenClaim::Elsewhere { .. }));
    assert!(matches!(claim(&store, &ask("c", 0)).await, TokenClaim::Elsewhere { .. }));
    assert!(keep(&store, &second, "T2", LIFE).await);
    // Late news of the old one harms nobody.
    let late = store.token_claim(APPID, MODE, &refused("d")).await.unwrap();
    assert!(late.first_refused.is_none());
    assert!(matches!(late.claim, TokenClaim::Kept(token) if token.version == 2));
}

pub async fn a_token_lives_as_long_as_was_said(db: Db) {
    let store = db.open().await;
    let first = turn(&store, &ask("a", 0)).await;
    assert!(keep(&store, &first, "T1", SHORT).await);
    pass(&db).await;
    let claimed = store.token_claim(APPID, MODE, &TokenAsk { refused: true, ..ask("a", 1) }).await.unwrap();
    assert!(claimed.first_refused.is_none(), "its time was over");
    let TokenClaim::Turn(second) = claimed.claim else { panic!("{claimed:?}") };
    assert!(keep(&store, &second, "T2", LIFE).await);
    let TokenClaim::Kept(token) = claim(&store, &ask("a", 0)).await else { panic!() };
    assert!(token.remains <= LIFE && LIFE - LONG < token.remains && token.age < LONG);
    // What a node remembers of a database that was set back to an older copy is never taken for new.
    let ahead = turn(&store, &TokenAsk { refused: true, ..ask("a", 9) }).await;
    assert_eq!(ahead.version(), 10);
    assert!(keep(&store, &ahead, "T10", LIFE).await);
    assert_eq!(kept(&store, &ask("b", 2)).await, (10, "T10".to_owned()));
}

pub async fn fetches_are_counted_over_all_nodes(db: Db) {
    let stores = [db.open().await, db.open().await];
    let frugal = |holder: &str| TokenAsk { budget: 3, ..ask(holder, 0) };
    for n in 0..3 {
        let turn = turn(&stores[n % 2], &frugal("a")).await;
        stores[n % 2].token_give_up(APPID, MODE, &turn).await.unwrap();
    }
    let spent = claim(&stores[1], &frugal("b")).await;
    let hour = Duration::from_secs(3600);
    assert!(
        matches!(spent, TokenClaim::Spent { frees_in } if frees_in <= hour && hour - LONG < frees_in),
        "{spent:?}"
    );
    let state = stores[0].token_states(&[(APPID, MODE)]).await.unwrap().remove(0);
    assert_eq!((state.fetches_last_hour, state.version), (3, 0));
    assert!(state.spent_ago.unwrap() < LONG);
    // Trying credentials is not stopped, and counts.
    let turn = turn(&stores[0], &TokenAsk { wish: TokenWish::Fetched, ..frugal("a") }).await;
    assert!(keep(&stores[0], &turn, "T1", LIFE).await);
    assert_eq!(kept(&stores[1], &frugal("b")).await.0, 1, "what is kept costs nothing");
    if db.is_sqlite() {
        db.clock.advance_seconds(3600);
        let more = TokenAsk { newer_than: 1, ..frugal("b") };
        assert!(matches!(claim(&stores[1], &more).await, TokenClaim::Turn(_)), "an hour later");
    }
}

pub async fn forced_fetches_keep_their_distance(db: Db) {
    let store = db.open().await;
    let forced = |apart, per_day| TokenAsk { wish: TokenWish::Forced { apart, per_day }, ..ask("a", 0) };
    let first = turn(&store, &forced(LONG, 20)).await;
    assert!(keep(&store, &first, "T1", LIFE).await);
    let soon = claim(&store, &forced(LONG, 20)).await;
    assert!(matches!(soon, TokenClaim::TooSoon { frees_in, of_day: false } if frees_in <= LONG), "{soon:?}");
    let second = turn(&store, &forced(Duration::ZERO, 20)).await;
    assert!(keep(&store, &second, "T2", LIFE).await);
    let often = claim(&store, &forced(Duration::ZERO, 2)).await;
    assert!(matches!(often, TokenClaim::TooSoon { of_day: true, .. }), "{often:?}");
    assert_eq!(kept(&store, &ask("a", 1)).await, (2, "T2".to_owned()));
    let state = store.token_states(&[(APPID, MODE), ("wxUnknown", MODE)]).await.unwrap();
    assert_eq!(state.len(), 1);
    assert_eq!((state[0].forced_last_day, state[0].version, state[0].refused), (2, 2, false));
    assert!(!state[0].being_fetched && Duration::ZERO < state[0].remains);
}

pub async fn of_many_askers_one_fetches(db: Db) {
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(db.open().await);
    }
    for round in 0..20 {
        let appid = format!("wx{round}");
        let asked: Vec<_> = (0..12)
            .map(|n| {
                let (store, appid) = (stores[n % 3].clone(), appid.clone());
                tokio::spawn(async move {
                    store.token_claim(&appid, MODE, &ask(&format!("asker-{n}"), 0)).await.unwrap().claim
                })
            })
            .collect();
        let mut turns = Vec::new();
        for one in asked {
            if let TokenClaim::Turn(turn) = one.await.unwrap() {
                turns.push(turn);
            }
        }
        assert_eq!(turns.len(), 1);
    }
}

pub async fn tokens_are_sealed_in_their_place(db: Db) {
    let store = db.open().await;
    let first = turn(&store, &ask("a", 0)).await;
    assert!(keep(&store, &first, "PLANTED_TOKEN", LIFE).await);
    for sealed in db.bytes("select sealed from token").await {
        assert!(!sealed.windows(13).any(|window| window == b"PLANTED_TOKEN"));
    }
    assert_eq!(kept(&store, &ask("a", 0)).await.1, "PLANTED_TOKEN");
    // A row that was copied to another app does not open, and is fetched anew instead of failing for ever.
    db.tamper("update token set appid = 'wxOther'").await;
    let claimed = store.token_claim("wxOther", MODE, &ask("a", 0)).await.unwrap();
    let TokenClaim::Turn(turn) = claimed.claim else { panic!("{claimed:?}") };
    assert_eq!(turn.version(), 2);
}
