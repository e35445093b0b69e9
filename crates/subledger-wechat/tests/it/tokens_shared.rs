//! Several keepers on one shelf, as several nodes are: one refresh for all of them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use subledger_wechat::{
    Clock, FORCED_PER_DAY, InMemoryShelf, IssuedToken, KeeperSettings, TokenError, TokenFetcher, TokenFuture,
    TokenGrant, TokenKeeper, TokenObserver, TokenSource, TokenSuspicion,
};
use tokio::sync::Semaphore;

use crate::server::{HandClock, key, until};

/// Gives `T1`, `T2`, …, each when the gate lets it.
struct Counting {
    given: AtomicUsize,
    begun: AtomicUsize,
    forced: AtomicUsize,
    gate: Semaphore,
}

impl Counting {
    fn new(open: usize) -> Arc<Self> {
        Arc::new(Self {
            given: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            forced: AtomicUsize::new(0),
            gate: Semaphore::new(open),
        })
    }

    fn begun(&self) -> usize {
        self.begun.load(Ordering::SeqCst)
    }
}

impl TokenFetcher for Counting {
    fn fetch(&self) -> TokenFuture<'_> {
        Box::pin(async {
            self.begun.fetch_add(1, Ordering::SeqCst);
            self.gate.acquire().await.unwrap().forget();
            let number = self.given.fetch_add(1, Ordering::SeqCst) + 1;
            Ok(TokenGrant { token: SecretString::from(format!("T{number}")), expires_in: 7200 })
        })
    }

    fn fetch_forced(&self) -> TokenFuture<'_> {
        self.forced.fetch_add(1, Ordering::SeqCst);
        self.fetch()
    }
}

#[derive(Default)]
struct Told(Mutex<Vec<TokenSuspicion>>);

impl TokenObserver for Told {
    fn suspected(&self, suspicion: &TokenSuspicion) {
        self.0.lock().unwrap().push(suspicion.clone());
    }
}

/// `count` keepers on one shelf.
fn nodes(count: usize, clock: &HandClock, settings: &KeeperSettings) -> Vec<TokenKeeper> {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let shelf = Arc::new(InMemoryShelf::new(Arc::clone(&clock)));
    (0..count)
        .map(|_| TokenKeeper::with_shelf(settings.clone(), Arc::clone(&clock), Arc::clone(&shelf) as _))
        .collect()
}

fn source(fetcher: &Arc<Counting>) -> TokenSource {
    TokenSource::from(Arc::clone(fetcher) as Arc<dyn TokenFetcher>)
}

fn watched(fetcher: &Arc<Counting>) -> (TokenSource, Arc<Told>) {
    let told = Arc::new(Told::default());
    (TokenSource { observer: Some(Arc::clone(&told) as _), ..source(fetcher) }, told)
}

fn text(token: &IssuedToken) -> (u64, String) {
    (token.version, token.token.expose_secret().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_four_nodes_one_fetches_and_all_get_its_token() {
    let fetcher = Counting::new(0);
    let nodes = nodes(4, &HandClock::new(), &KeeperSettings::default());
    let callers: Vec<_> = (0..40)
        .map(|n| {
            let (node, source) = (nodes[n % 4].clone(), source(&fetcher));
            tokio::spawn(async move { node.token(&key(), &source).await })
        })
        .collect();
    until("one fetches", || fetcher.begun() == 1).await;
    fetcher.gate.add_permits(100);
    for caller in callers {
        assert_eq!(text(&caller.await.unwrap().unwrap()), (1, "T1".to_owned()));
    }
    assert_eq!(fetcher.begun(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_token_that_every_node_finds_stale_is_replaced_once() {
    let fetcher = Counting::new(1);
    let (source, told) = watched(&fetcher);
    let nodes = nodes(4, &HandClock::new(), &KeeperSettings::default());
    for node in &nodes {
        assert_eq!(node.token(&key(), &source).await.unwrap().version, 1);
    }
    fetcher.gate.add_permits(100);
    let callers: Vec<_> = (0..40)
        .map(|n| {
            let (node, source) = (nodes[n % 4].clone(), source.clone());
            tokio::spawn(async move {
                node.invalidate_if(&key(), 1, 40001);
                node.token(&key(), &source).await
            })
        })
        .collect();
    for caller in callers {
        assert_eq!(text(&caller.await.unwrap().unwrap()), (2, "T2".to_owned()));
    }
    assert_eq!(fetcher.begun(), 2);
    let told = told.0.lock().unwrap();
    assert_eq!(told.len(), 1, "one conflict is suspected once: {told:?}");
    assert_eq!((told[0].code, told[0].age, told[0].life.as_secs()), (40001, Duration::ZERO, 7200));
}

#[tokio::test]
async fn what_another_node_replaced_is_no_conflict() {
    let fetcher = Counting::new(100);
    let (source, told) = watched(&fetcher);
    let nodes = nodes(2, &HandClock::new(), &KeeperSettings::default());
    for node in &nodes {
        node.token(&key(), &source).await.unwrap();
    }
    assert_eq!(nodes[0].force(&key(), &source).await.unwrap().version, 2);
    assert!(nodes[1].invalidate_if(&key(), 1, 40001));
    assert_eq!(nodes[1].token(&key(), &source).await.unwrap().version, 2);
    assert_eq!((fetcher.begun(), told.0.lock().unwrap().len()), (2, 0));
}

#[tokio::test]
async fn a_token_refused_near_its_end_or_as_expired_is_no_conflict() {
    for (age, code, suspected) in [(6899, 40001, 1), (6901, 40001, 0), (100, 42001, 0), (100, 40014, 1)] {
        let fetcher = Counting::new(100);
        let (source, told) = watched(&fetcher);
        let clock = HandClock::new();
        let node = nodes(1, &clock, &KeeperSettings::default()).remove(0);
        node.token(&key(), &source).await.unwrap();
        clock.advance(age);
        assert!(node.invalidate_if(&key(), 1, code));
        assert_eq!(node.token(&key(), &source).await.unwrap().version, 2);
        assert_eq!(told.0.lock().unwrap().len(), suspected, "{code} after {age} s");
    }
}

#[tokio::test]
async fn a_node_whose_token_is_due_takes_what_another_has_fetched() {
    let fetcher = Counting::new(100);
    let source = source(&fetcher);
    let clock = HandClock::new();
    let nodes = nodes(2, &clock, &KeeperSettings::default());
    for node in &nodes {
        node.token(&key(), &source).await.unwrap();
    }
    clock.advance(6901);
    for node in &nodes {
        let renewed = async {
            while node.token(&key(), &source).await.unwrap().version == 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), renewed).await.unwrap();
    }
    assert_eq!(fetcher.begun(), 2);
}

#[tokio::test]
async fn a_node_that_died_in_its_turn_is_replaced_when_the_turn_is_over() {
    let (stuck, fetcher) = (Counting::new(0), Counting::new(100));
    let clock = HandClock::new();
    let settings = KeeperSettings { turn: Duration::from_secs(3600), ..KeeperSettings::default() };
    let nodes = nodes(2, &clock, &settings);
    let (first, never) = (nodes[0].clone(), source(&stuck));
    let dying = tokio::spawn(async move { first.token(&key(), &never).await });
    until("the first fetches", || stuck.begun() == 1).await;
    let (second, other) = (nodes[1].clone(), source(&fetcher));
    let mut waiting = tokio::spawn(async move { second.token(&key(), &other).await });
    let early = tokio::time::timeout(Duration::from_millis(300), &mut waiting).await;
    assert!(early.is_err() && fetcher.begun() == 0, "the turn of the other lasts");
    clock.advance(3600);
    assert_eq!(text(&waiting.await.unwrap().unwrap()), (1, "T1".to_owned()));
    // What comes late of the dead is not taken: it waits for its turn and finds the newer one.
    stuck.gate.add_permits(1);
    assert_eq!(text(&dying.await.unwrap().unwrap()), (1, "T1".to_owned()));
    assert_eq!(text(&nodes[0].token(&key(), &source(&stuck)).await.unwrap()), (1, "T1".to_owned()));
}

#[tokio::test]
async fn a_fetch_ends_before_its_turn_does() {
    let stuck = Counting::new(0);
    let settings = KeeperSettings { turn: Duration::from_millis(50), ..KeeperSettings::default() };
    let node = nodes(1, &HandClock::new(), &settings).remove(0);
    assert_eq!(node.token(&key(), &source(&stuck)).await.unwrap_err(), TokenError::Interrupted);
}

#[tokio::test]
async fn the_budget_is_that_of_all_nodes() {
    let fetcher = Counting::new(100);
    let source = source(&fetcher);
    let clock = HandClock::new();
    let settings = KeeperSettings { refreshes_per_hour: 4, ..KeeperSettings::default() };
    let nodes = nodes(2, &clock, &settings);
    let mut last = nodes[0].token(&key(), &source).await;
    for n in 0..10 {
        clock.advance(1);
        let node = &nodes[n % 2];
        if let Ok(token) = node.token(&key(), &source).await {
            node.invalidate_if(&key(), token.version, 40001);
        }
        last = node.token(&key(), &source).await;
    }
    assert_eq!(fetcher.begun(), 4);
    assert!(matches!(last, Err(TokenError::BudgetSpent { .. })), "{last:?}");
    clock.advance(3600);
    assert_eq!(nodes[1].token(&key(), &source).await.unwrap().version, 5);
}

#[tokio::test]
async fn a_new_token_is_forced_by_nobody_too_soon_or_too_often() {
    let fetcher = Counting::new(100);
    let source = source(&fetcher);
    let clock = HandClock::new();
    let nodes = nodes(2, &clock, &KeeperSettings::default());
    nodes[0].token(&key(), &source).await.unwrap();
    for n in 0..FORCED_PER_DAY {
        assert_eq!(nodes[0].force(&key(), &source).await.unwrap().version, u64::from(n) + 2);
        let soon = nodes[1].force(&key(), &source).await.unwrap_err();
        assert!(matches!(soon, TokenError::ForcedTooSoon { of_day: false, .. }), "{soon:?}");
        clock.advance(30);
    }
    let often = nodes[1].force(&key(), &source).await.unwrap_err();
    assert!(matches!(often, TokenError::ForcedTooSoon { of_day: true, .. }), "{often:?}");
    assert_eq!(fetcher.forced.load(Ordering::SeqCst), 20);
    assert_eq!(nodes[1].token(&key(), &source).await.unwrap().version, 21, "it lives");
    clock.advance(24 * 3600);
    nodes[1].force(&key(), &source).await.unwrap();
}
