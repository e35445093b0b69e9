//! The oracle test: a seeded simulation of taps, reports, pushes, sends and everything that goes wrong with them, over real HTTP,
//! against a WeChat that knows the truth; then every number is compared with it, and every difference must have a name.
//!
//! A run is made of rounds. A round is a Mini Program of its own with its own users, its policy and its list of operations, all
//! of which follow from the seed; how operations overlap does not, and the checks hold however they do. When a round fails it
//! prints how to play it again, also for one user alone.
//!
//! | variable | means | default |
//! |---|---|---|
//! | `SUBLEDGER_ORACLE_OPERATIONS` | operations of each run, that is per profile and database; more than 20,000 is the long run | 600 |
//! | `SUBLEDGER_ORACLE_SEED` | the seed | a fixed one |
//! | `SUBLEDGER_ORACLE_PROFILE` | one of the sandbox's profiles | each in its turn |
//! | `SUBLEDGER_ORACLE_ROUND` | this round alone | all |
//! | `SUBLEDGER_ORACLE_USER` | this user alone | all |

mod book;
mod check;
mod deadlines;
mod driver;
mod log;
mod mutants;
mod plan;
mod pushes;
mod rest;
mod tell;
mod told;
mod truth;
mod world;

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use self::{
    check::{Case, Ground, Named},
    log::{Log, Ours},
    plan::Round,
    truth::Truths,
    world::World,
};
use crate::{
    on_both_databases,
    support::{Client, Database, Process, Wechat, create_app, run_cli},
};

/// Profiles of the simulated WeChat.
const PROFILES: [&str; 3] = ["documented", "observed", "hostile"];
/// Operations of a round at most. Short rounds find a failure soon and show a short history.
const ROUND: usize = 4_000;
/// A short run has a few rounds, too, because each draws its policy.
const FEWEST_ROUNDS: usize = 3;
/// Operations for each user, so that histories are long enough to go wrong and short enough to be read.
const PER_USER: usize = 40;
const FEWEST_USERS: usize = 12;

/// Short time-outs, so that lost answers are known soon; a few attempts, so that retries end; and no limits of our own.
const ENVIRONMENT: &[(&str, &str)] = &[
    ("SUBLEDGER_WECHAT_READ_TIMEOUT_MS", "800"),
    ("SUBLEDGER_DISPATCH_MAX_ATTEMPTS", "3"),
    ("SUBLEDGER_HTTP_REQUESTS_PER_SECOND", "1000000"),
    ("SUBLEDGER_HTTP_BURST", "1000000"),
];

on_both_databases!(the_documented_wechat);
on_both_databases!(the_observed_wechat);
on_both_databases!(the_hostile_wechat);

async fn the_documented_wechat(database: Database) {
    under(PROFILES[0], database).await;
}

async fn the_observed_wechat(database: Database) {
    under(PROFILES[1], database).await;
}

async fn the_hostile_wechat(database: Database) {
    under(PROFILES[2], database).await;
}

fn setting<T: std::str::FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok().map(|value| value.parse().ok().unwrap_or_else(|| panic!("{name} is {value:?}")))
}

/// One run under one profile.
async fn under(profile: &'static str, database: Database) {
    if setting::<String>("SUBLEDGER_ORACLE_PROFILE").is_some_and(|only| only != profile) {
        return;
    }
    let operations: usize = setting("SUBLEDGER_ORACLE_OPERATIONS").unwrap_or(600);
    let seed: u64 = setting("SUBLEDGER_ORACLE_SEED").unwrap_or(20_261_125);
    let only: Option<u64> = setting("SUBLEDGER_ORACLE_ROUND");
    let on = if database.is_postgres() { "postgres" } else { "sqlite" };
    eprintln!("oracle: {profile} on {on}, {operations} operations, SUBLEDGER_ORACLE_SEED={seed}");
    let wechat = Wechat::start_with_seed(seed).await;
    let key = create_app(&database, &["app", "create", "oracle", "--json"]);
    let (service, url) = Process::serve_with(&database, &wechat, ENVIRONMENT).await;
    let client = Client::new(&url, &key);

    let size = operations.div_ceil(FEWEST_ROUNDS).clamp(1, ROUND);
    let rounds = operations.div_ceil(size);
    let (begun, mut done, mut found) = (Instant::now(), 0, Found::default());
    for number in 0..rounds {
        let of_round = size.min(operations - number * size);
        let round = Round {
            seed,
            number: number as u64,
            profile,
            operations: of_round,
            users: of_round.div_ceil(PER_USER).max(FEWEST_USERS),
        };
        if only.is_some_and(|only| only != round.number) {
            continue;
        }
        let place = format!(
            "SUBLEDGER_ORACLE_PROFILE={profile} SUBLEDGER_ORACLE_SEED={seed} SUBLEDGER_ORACLE_ROUND={number} \
             SUBLEDGER_ORACLE_OPERATIONS={operations}, on {on}"
        );
        play(round, &client, &wechat, &place, &mut found).await;
        done += of_round;
        let rate = done as f64 / begun.elapsed().as_secs_f64();
        eprintln!(
            "oracle: {profile} on {on}, round {} of {rounds}: {done} operations, {rate:.0}/s",
            number + 1
        );
    }
    if only.is_none() && setting::<usize>("SUBLEDGER_ORACLE_USER").is_none() {
        mutants::were_told(&found.lies);
    }
    for arguments in [["projections", "verify"], ["audit", "verify"]] {
        let verified = run_cli(&database, &arguments);
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(
            verified.status.success(),
            "{arguments:?}: {said}{}",
            String::from_utf8_lossy(&verified.stderr)
        );
    }
    eprintln!(
        "oracle: {profile} on {on}: {done} operations in {:.0} s, {found}",
        begun.elapsed().as_secs_f64()
    );
    drop(service);
}

/// What a run has found, to print.
#[derive(Default)]
struct Found {
    events: u64,
    pairs: u64,
    equal: u64,
    named: Named,
    states: BTreeMap<String, u64>,
    /// How often each lie was told and noticed.
    lies: BTreeMap<&'static str, u64>,
}

impl std::fmt::Display for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { events, pairs, equal, named, states, .. } = self;
        write!(
            f,
            "{events} events; {equal} of {pairs} balances are WeChat's; differences {named:?}; deliveries {states:?}"
        )
    }
}

async fn play(round: Round, client: &Client, wechat: &Wechat, place: &str, found: &mut Found) {
    let world = Arc::new(World::set_up(round, client, wechat).await);
    let operations = world.round.operations(setting("SUBLEDGER_ORACLE_USER"));
    driver::run(&world, operations.clone()).await;
    world.report_the_rest(&operations).await;
    let position = rest::come_to_rest(&world).await;
    let (log, truths) = (Log::read(&world, position).await, Truths::read(&world).await);
    for (state, count) in log::messages_add_up(&world, position).await {
        *found.states.entry(state).or_default() += count;
    }
    found.events += log.events;
    let nothing = Ours::default();
    let inbox = pushes::inbox(&world, position, truths.pushes.values()).await;
    let ground = Ground { asked: check::asked(&world), inbox };
    for pair in log.pairs.keys() {
        assert!(truths.pairs.contains_key(pair), "{place}\na ledger of nobody: {pair:?}");
    }
    for pair in truths.pairs.keys() {
        let ours = log.pairs.get(pair).unwrap_or(&nothing);
        let mut case = Case::new(&world, &ground, pair, &truths, (&truths.pairs[pair], ours));
        case.check();
        assert!(case.faults.is_empty(), "{}", tell::failure(&case, place));
        found.pairs += 1;
        found.equal += u64::from(case.named.values().sum::<i64>() == 0);
        for (name, amount) in case.named {
            *found.named.entry(name).or_default() += amount;
        }
    }
    mutants::are_noticed(&world, &ground, &truths, &log, &mut found.lies);
}
