//! Random histories of two platforms and three apps against a model that is as simple as the documents: who holds which
//! sets, which refresh token and which codes and tokens work.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use subledger_sandbox::{AppSpec, AuthorizeSpec, Habit, Reality, SandboxConfig};

use crate::platform_world::{COMPONENT, COMPONENT_SECRET, plain, spec};
use crate::receiver::Receiver;
use crate::support::{APP, World, code, config, text};

const PLATFORMS: [&str; 2] = [COMPONENT, "wx00000000comp0002"];
const APPS: [&str; 3] = [APP, "wx00000000demo0002", "wx00000000demo0003"];
const STEPS: usize = 200;
/// What may happen, as often as it stands here.
const ACTS: [&str; 14] = [
    "scan", "scan", "sets", "sets", "off", "refresh", "refresh", "refresh", "query", "query", "use", "use",
    "use", "list",
];

/// A platform and an app.
type Pair = (&'static str, &'static str);

#[derive(Default)]
struct Model {
    /// What is ticked, by who is authorized now.
    sets: BTreeMap<Pair, BTreeSet<u32>>,
    /// Every refresh token ever seen, the one that works last.
    refresh: BTreeMap<Pair, Vec<String>>,
    /// Codes, and whether they were traded.
    codes: Vec<(Pair, String, bool)>,
    /// Tokens held for apps, and whether they were given out before the authorization was taken back and given anew.
    held: Vec<(Pair, String, bool)>,
}

impl Model {
    /// Another platform has set 18 of the app.
    fn taken(&self, (platform, app): Pair) -> bool {
        self.sets.iter().any(|((p, a), sets)| *p != platform && *a == app && sets.contains(&18))
    }
}

#[tokio::test]
async fn random_histories_agree_with_the_model() {
    for (seed, rotates) in [(1, Habit::Never), (2, Habit::Mixed), (3, Habit::Mixed)] {
        walk(seed, rotates).await;
    }
}

async fn walk(seed: u64, rotates: Habit) {
    let reality = Reality { refresh_token_rotates: rotates, rotated_refresh_token_ends: true, ..plain() };
    let world = World::with(SandboxConfig { reality, ..config() }).await;
    let receiver = Receiver::start().await;
    for app in &APPS[1..] {
        world.wechat.create_app(AppSpec::new(app, "s")).unwrap();
    }
    let mut tokens = BTreeMap::new();
    for platform in PLATFORMS {
        let made = world.wechat.create_platform(spec(&receiver, platform)).unwrap();
        let body = json!({
            "component_appid": platform,
            "component_appsecret": COMPONENT_SECRET,
            "component_verify_ticket": made.ticket,
        });
        let got = world.post("/cgi-bin/component/api_component_token", &body).await;
        tokens.insert(platform, text(&got, "component_access_token"));
    }
    let call = async |platform: &str, name: &str, mut body: Value| {
        body["component_appid"] = json!(platform);
        let token = &tokens[platform];
        world.post(&format!("/cgi-bin/component/{name}?component_access_token={token}"), &body).await
    };
    let mut rng = StdRng::seed_from_u64(seed);
    let mut model = Model::default();
    let mut done = BTreeMap::<&str, usize>::new();
    for step in 0..STEPS {
        let pair @ (platform, app) = (PLATFORMS[rng.random_range(0..2)], APPS[rng.random_range(0..3)]);
        let ticked: BTreeSet<u32> = [17, 18].into_iter().filter(|_| rng.random()).collect();
        let at = format!("seed {seed} step {step} {pair:?} {ticked:?}");
        let act = ACTS[rng.random_range(0..ACTS.len())];
        let worked = match act {
            "scan" => {
                let spec = AuthorizeSpec {
                    appid: app.to_owned(),
                    permission_sets: Some(ticked.clone()),
                    ..AuthorizeSpec::default()
                };
                let given = world.wechat.authorize(platform, &spec);
                assert_eq!(given.is_err(), ticked.contains(&18) && model.taken(pair), "{at}");
                given.is_ok_and(|given| {
                    if model.sets.insert(pair, ticked).is_none() {
                        model.held.iter_mut().filter(|h| h.0 == pair).for_each(|h| h.2 = true);
                    }
                    model.codes.push((pair, given.auth_code, false));
                    let view = world.wechat.platform(platform).unwrap();
                    let now = view.authorizers.iter().find(|a| a.appid == app).unwrap();
                    model.refresh.entry(pair).or_default().push(now.refresh_token.clone());
                    true
                })
            }
            "sets" => {
                let changed = world.wechat.change_permission_sets(platform, app, &ticked);
                let may = model.sets.contains_key(&pair) && !(ticked.contains(&18) && model.taken(pair));
                assert_eq!(changed.is_ok(), may, "{at}");
                if may {
                    model.sets.insert(pair, ticked);
                }
                may
            }
            "off" => {
                assert_eq!(
                    world.wechat.deauthorize(platform, app).is_ok(),
                    model.sets.remove(&pair).is_some(),
                    "{at}"
                );
                true
            }
            "refresh" => {
                let known = model.refresh.get(&pair).cloned().unwrap_or_default();
                let index = known
                    .len()
                    .checked_sub(1)
                    .map(|last| if rng.random() { last } else { rng.random_range(0..=last) });
                let given = index.map(|i| known[i].clone()).unwrap_or_default();
                let want = match index {
                    _ if !model.sets.contains_key(&pair) => 61003,
                    Some(index) if index + 1 == known.len() => 0,
                    _ => 61023,
                };
                let body = json!({ "authorizer_appid": app, "authorizer_refresh_token": given });
                let got = call(platform, "api_authorizer_token", body).await;
                assert_eq!(code(&got), want, "{at}");
                if want == 0 {
                    model.held.push((pair, text(&got, "authorizer_access_token"), false));
                    let newest = text(&got, "authorizer_refresh_token");
                    assert!(newest == given || rotates == Habit::Mixed, "{at}");
                    if newest != given {
                        model.refresh.entry(pair).or_default().push(newest);
                    }
                }
                want == 0
            }
            "query" if !model.codes.is_empty() => {
                let index = rng.random_range(0..model.codes.len());
                let (owner, given, used) = model.codes[index].clone();
                let want = match used {
                    true => 61010,
                    false if !model.sets.contains_key(&owner) => 61003,
                    false => 0,
                };
                let got = call(owner.0, "api_query_auth", json!({ "authorization_code": given })).await;
                assert_eq!(code(&got), want, "{at}");
                if want == 0 {
                    model.codes[index].2 = true;
                    let info = &got["authorization_info"];
                    let newest = model.refresh[&owner].last().unwrap();
                    assert_eq!(info["authorizer_refresh_token"], newest.as_str(), "{at}");
                    assert_eq!(info["func_info"].as_array().unwrap().len(), model.sets[&owner].len(), "{at}");
                    model.held.push((owner, text(info, "authorizer_access_token"), false));
                }
                want == 0
            }
            "use" if !model.held.is_empty() => {
                let (owner, token, ended) = &model.held[rng.random_range(0..model.held.len())];
                let want = match model.sets.get(owner) {
                    _ if *ended => 40001,
                    None => 61003,
                    Some(sets) if !sets.contains(&18) => 61007,
                    Some(_) => 0,
                };
                assert_eq!(world.verdict(token).await, want, "{at}");
                want == 0
            }
            _ => {
                let got = call(platform, "api_get_authorizer_list", json!({ "offset": 0, "count": 9 })).await;
                let listed: BTreeMap<String, String> = got["list"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|entry| (text(entry, "authorizer_appid"), text(entry, "refresh_token")))
                    .collect();
                let own = |(p, _): &&Pair| *p == platform;
                let want: BTreeMap<String, String> = model
                    .sets
                    .keys()
                    .filter(own)
                    .map(|pair| (pair.1.to_owned(), model.refresh[pair].last().unwrap().clone()))
                    .collect();
                assert_eq!(listed, want, "{at}");
                !want.is_empty()
            }
        };
        *done.entry(act).or_default() += usize::from(worked);
    }
    for act in ["scan", "sets", "off", "refresh", "query", "use", "list"] {
        assert!(done.get(act).is_some_and(|times| *times > 1), "seed {seed}: {act} hardly worked: {done:?}");
    }
}
