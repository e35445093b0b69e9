//! A day of many users: the same seed is the same day, and what it reports is what happened.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use subledger_sandbox::{Act, DayLine, DaySpec, FixedClock, Profile, SandboxConfig};

use crate::pushes::{plain_world, settled};
use crate::support::{APP, LEVEL, ORDER, World, config};

async fn play(world: &World, spec: Value) -> Vec<Value> {
    let url = format!("{}/sandbox/apps/{APP}/day", world.base);
    let response = world.http.post(url).json(&spec).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let text = response.text().await.unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_same_seed_is_the_same_day() {
    let spec = json!({ "seed": 4, "users": 50, "taps": 400, "sends": 100 });
    let first = play(&World::new().await, spec.clone()).await;
    // Another sandbox with another seed of its own.
    let other = World::with(SandboxConfig { seed: 99, ..config() }).await;
    assert_eq!(play(&other, spec).await, first);
    let another =
        play(&World::new().await, json!({ "seed": 5, "users": 50, "taps": 400, "sends": 100 })).await;
    let course = |day: &[Value]| -> Vec<(Value, Value)> {
        day.iter().map(|line| (line["at_ms"].clone(), line["openid"].clone())).collect()
    };
    assert!(course(&another)[0] != course(&first)[0] && course(&another)[1] != course(&first)[1]);
    let end = first.last().unwrap();
    assert_eq!((&end["kind"], &end["taps"], &end["sends"]), (&json!("end"), &json!(400), &json!(100)));
    assert_ne!(another.last().unwrap()["digest"], end["digest"]);
    let times: Vec<u64> = first[..first.len() - 1].iter().map(|l| l["at_ms"].as_u64().unwrap()).collect();
    assert!(times.is_sorted() && *times.last().unwrap() < 24 * 3_600_000);
    let kinds = |kind: &str| first.iter().filter(|l| l["kind"] == kind).count();
    assert_eq!((kinds("tap"), kinds("send")), (400, 100));
    assert!(kinds("setting") >= 16);
    let silent = first.iter().filter(|l| l["popup"] == false && l["result"]["errCode"].is_null()).count();
    let failed = first.iter().filter(|l| l["result"]["errCode"] == 20004).count();
    assert!(silent > 20, "{silent} silent taps, {failed} with the main switch off");
}

#[tokio::test]
async fn what_a_day_reports_is_what_happened() {
    for profile in Profile::ALL {
        let (world, receiver) = plain_world().await;
        world.wechat.set_profile(APP, profile).unwrap();
        let mut reported: BTreeMap<(String, String), u64> = BTreeMap::new();
        let mut ids = Vec::new();
        for line in world.wechat.day(APP, &DaySpec::new(8, 30, 300)).unwrap() {
            if let DayLine::Tap { openid, result, id, .. } = line.unwrap() {
                ids.push(id);
                for (template, word) in result.as_object().unwrap() {
                    if template != "errMsg" && word.as_str().is_some_and(|w| w.starts_with("accept")) {
                        *reported.entry((openid.clone(), template.clone())).or_default() += 1;
                    }
                }
            }
        }
        settled(&world).await;
        let books = world.wechat.books(APP).unwrap();
        assert_eq!(books.users.len(), 30);
        for user in &books.users {
            for (template, count) in &user.templates {
                let key = (user.openid.clone(), template.clone());
                assert_eq!(count.accept_taps, reported.get(&key).copied().unwrap_or(0), "{key:?}");
            }
        }
        assert!(books.sums.accept_taps > 300);
        let acts = world.wechat.acts();
        let names = acts.iter().filter_map(|a| match &a.act {
            Act::Tap { id, .. } => Some(id.clone()),
            Act::Setting { .. } => None,
        });
        assert_eq!(names.collect::<Vec<_>>(), ids);
        let told = acts.iter().filter(|a| a.push.is_some()).count();
        assert_eq!((told, world.wechat.pushes().len()), (receiver.got().len(), told));
        assert!(told > 100);
    }
}

#[tokio::test]
async fn a_day_can_take_its_time() {
    let start = "2030-01-02T03:00:00Z".parse().unwrap();
    let clock = std::sync::Arc::new(FixedClock(start));
    let world = World::with(SandboxConfig { clock, ..config() }).await;
    let begun = std::time::Instant::now();
    let spec = json!({ "seed": 1, "users": 5, "taps": 20, "templates": [ORDER], "scale": 432_000.0, "move_clock": true });
    let lines = play(&world, spec).await;
    assert!(begun.elapsed().as_millis() >= 200, "a day in a fifth of a second");
    assert!(lines.iter().filter(|l| l["kind"] == "tap").all(|l| l["result"].get(LEVEL).is_none()));
    assert_eq!(world.wechat.now().to_string(), "2030-01-03T03:00:00Z");
    for entry in world.wechat.acts() {
        let offset = entry.time.as_second() - 1_893_553_200;
        assert!((0..86_400).contains(&offset));
    }
}

#[tokio::test]
async fn a_day_that_cannot_be_is_refused() {
    let world = World::new().await;
    for (spec, status) in [
        (json!({ "seed": 1, "users": 0, "taps": 1 }), 400),
        (json!({ "seed": 1, "users": 100_001, "taps": 1 }), 400),
        (json!({ "seed": 1, "users": 1, "taps": 1_000_001 }), 400),
        (json!({ "seed": 1, "users": 1, "taps": 1, "scale": 0.5 }), 400),
        (json!({ "seed": 1, "users": 1, "taps": 1, "weather": "fine" }), 400),
        (json!({ "seed": 1, "users": 1, "taps": 1, "templates": ["none"] }), 404),
        (json!({ "users": 1, "taps": 1 }), 400),
    ] {
        let url = format!("{}/sandbox/apps/{APP}/day", world.base);
        let response = world.http.post(url).json(&spec).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status, "{spec}");
    }
    assert!(world.wechat.app(APP).unwrap().users.is_empty() && world.wechat.acts().is_empty());
}
