//! The profiles: under each the books add up, and each switch does what it says.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use subledger_sandbox::{
    Act, Choice, FaultKind, FaultSpec, Habit, Profile, PushEntry, Reality, SettingPlace, SettingState,
    TapSpec, Version,
};

use crate::pushes::{plain_world, settled};
use crate::receiver::{Receiver, read};
use crate::support::{APP, LEVEL, LONG, ORDER, World, code, order};

fn under(world: &World, reality: Reality) {
    world.wechat.set_app_reality(APP, None, reality).unwrap();
}

/// Taps, refusals, settings, good and bad sends with faults, in an order drawn from `seed`.
async fn live(world: &World, seed: u64) -> u64 {
    let mut dice = StdRng::seed_from_u64(seed);
    let (users, token): (Vec<String>, String) = ((0..3).map(|_| world.user()).collect(), world.token().await);
    for kind in [FaultKind::DropAfterCommit, FaultKind::DropBeforeCommit] {
        let spec = FaultSpec { times: 0, probability: 0.05, ..FaultSpec::new(kind) };
        world.wechat.inject(FaultSpec { path: Some(subledger_sandbox::CallPath::Send), ..spec }).unwrap();
    }
    let mut answered_good = 0;
    for _ in 0..400 {
        let openid = &users[dice.random_range(0..users.len())];
        let template = if dice.random() { ORDER } else { LEVEL };
        match dice.random_range(0..10) {
            0..4 => {
                let choice = if dice.random_range(0..5) == 0 { Choice::Reject } else { Choice::Accept };
                let version = if dice.random_range(0..4) == 0 { Version::Trial } else { Version::Release };
                let tap = TapSpec { version, ..TapSpec::new(openid, &[template], choice) };
                world.wechat.tap(APP, &tap).unwrap();
            }
            4 if dice.random_range(0..3) == 0 => {
                let state = if dice.random() { SettingState::Reject } else { SettingState::Accept };
                world.wechat.change_setting(APP, openid, Some(template), state).unwrap();
            }
            _ => {
                let mut body = order(openid);
                if dice.random_range(0..4) == 0 {
                    body["miniprogram_state"] = json!("trial");
                }
                if dice.random_range(0..6) == 0 {
                    body["data"]["thing1"]["value"] = json!("");
                }
                if let Ok(answer) = world.send_request(&token, &body).send().await {
                    let answer: Value = answer.json().await.unwrap();
                    answered_good += u64::from(code(&answer) == 0);
                }
            }
        }
    }
    world.wechat.clear_faults();
    answered_good
}

#[tokio::test]
async fn counts_are_conserved_under_every_profile() {
    let worst = Reality {
        system_errors: 0.2,
        system_errors_send: 0.5,
        failed_deliveries: 0.3,
        failure_returns_count: true,
        most_counts: Some(3),
        ..Profile::Hostile.reality()
    };
    let realities = Profile::ALL.map(|p| (p.as_str(), p.reality())).into_iter().chain([("custom", worst)]);
    for (name, reality) in realities {
        let (world, receiver) = plain_world().await;
        under(&world, reality.clone());
        let answered_good = live(&world, 11).await;
        settled(&world).await;
        let books = world.wechat.books(APP).unwrap();
        let s = books.sums;
        assert_eq!(books.reality.profile.as_str(), name);
        assert_eq!(
            s.remaining + s.capped + s.accepted_sends + s.forfeited + s.cleared,
            s.accept_taps + s.returned,
            "{name}: {s:?}"
        );
        let apart: u64 = books.users.iter().flat_map(|u| u.apart.values()).map(|c| c.accepted_sends).sum();
        assert_eq!(apart > 0, !reality.trial_shares_counts, "{name}: {apart} messages of the trial version");
        for count in books.users.iter().flat_map(|u| u.templates.values().chain(u.apart.values())) {
            let spent =
                count.remaining + count.capped + count.accepted_sends + count.forfeited + count.cleared;
            assert_eq!(spent, count.accept_taps + count.returned, "{name}: {count:?}");
            assert!(count.accepted_sends <= count.accept_taps + count.returned);
        }
        let journal = world.wechat.journal();
        assert!(journal.iter().all(|e| e.profile.as_str() == name && e.committed == e.msgid.is_some()));
        let committed = journal.iter().filter(|e| e.committed).count() as u64;
        assert_eq!(committed, s.accepted_sends);
        assert!(committed > 20 && s.accept_taps > 100, "{name}: too quiet to prove anything");
        assert!(answered_good <= committed);
        // Each accepted message has its sent event, and it tells the truth.
        let sent: Vec<PushEntry> =
            world.wechat.pushes().into_iter().filter(|p| p.event == "subscribe_msg_sent_event").collect();
        assert_eq!(sent.len() as u64, committed);
        let failed = journal.iter().filter(|e| e.sent_code.is_some_and(|c| c != 0)).count() as u64;
        assert_eq!(failed, s.failed_sends);
        for entry in journal.iter().filter(|e| e.committed) {
            let push = sent.iter().find(|p| Some(p.seq) == entry.push).unwrap();
            assert_eq!(push.msgid, entry.msgid);
            let item = read(push.body.as_ref().unwrap()).items[0].clone();
            assert_eq!(item["ErrorCode"], entry.sent_code.unwrap().to_string());
        }
        let expected = match name {
            "hostile" => s.forfeited > 0 && s.cleared > 0 && s.failed_sends > 0 && s.returned == 0,
            "custom" => s.returned > 0 && s.capped > 0 && committed > answered_good,
            _ => [s.capped, s.forfeited, s.cleared, s.failed_sends, s.returned] == [0; 5],
        };
        assert!(expected, "{name}: {s:?}");
        assert_eq!(books.last_push as usize, receiver.got().len());
    }
}

#[tokio::test]
async fn an_answer_of_minus_one_may_hide_a_message() {
    for (share, committed) in [(0.0, false), (1.0, true)] {
        let (world, receiver) = plain_world().await;
        under(&world, Reality { system_errors: 1.0, system_errors_send: share, ..Reality::default() });
        let (openid, token) = (world.user_with(1), world.token().await);
        assert_eq!(code(&world.send(&token, &order(&openid)).await), -1);
        let entry = world.last();
        assert_eq!((entry.errcode, entry.committed), (Some(-1), committed));
        assert_eq!(world.remaining(&openid), u64::from(!committed));
        settled(&world).await;
        assert_eq!(receiver.got().len(), 1 + usize::from(committed));
    }
}

#[tokio::test]
async fn answers_lose_their_msgid_and_numbers_as_values_are_refused_where_it_is_so() {
    let (world, _) = plain_world().await;
    under(&world, Reality { lose_msgid: 0.5, ..Reality::default() });
    let (openid, token) = (world.user_with(40), world.token().await);
    let mut with = 0;
    for _ in 0..40 {
        with += usize::from(world.send(&token, &order(&openid)).await.get("msgid").is_some());
    }
    assert!((5..35).contains(&with), "{with}");
    under(&world, Reality { number_values: false, ..Reality::default() });
    let openid = world.user_with(1);
    let mut body = order(&openid);
    body["data"]["thing1"]["value"] = json!(5);
    assert_eq!(code(&world.send(&token, &body).await), 47003);
}

#[tokio::test]
async fn the_trial_version_has_counts_of_its_own_where_it_is_so() {
    let state_of = |state: &str, openid: &str, template: &str| {
        let mut body = order(openid);
        body["template_id"] = json!(template);
        body["miniprogram_state"] = json!(state);
        body
    };
    for shares in [true, false] {
        let (world, receiver) = plain_world().await;
        under(&world, Reality { trial_shares_counts: shares, ..Reality::default() });
        let (openid, token) = (world.user_with(1), world.token().await);
        let path = format!("/sandbox/apps/{APP}/taps");
        for version in ["trial", "develop"] {
            let tap =
                json!({ "openid": openid, "template_ids": [ORDER], "choice": "accept", "version": version });
            assert_eq!(world.post(&path, &tap).await[ORDER], "accept", "the client is told the same");
        }
        let odd = json!({ "openid": openid, "template_ids": [ORDER], "choice": "accept", "version": "beta" });
        let refused = world.http.post(format!("{}{path}", world.base)).json(&odd).send().await.unwrap();
        assert_eq!(refused.status(), 400);
        settled(&world).await;
        assert_eq!(receiver.got().len(), 3, "and pushed the same");
        assert_eq!(world.remaining(&openid), if shares { 3 } else { 1 });
        let mut codes = Vec::new();
        for state in ["formal", "formal", "trial", "developer", "trial"] {
            codes.push(code(&world.send(&token, &state_of(state, &openid, ORDER)).await));
        }
        assert_eq!(codes, if shares { [0, 0, 0, 43101, 43101] } else { [0, 43101, 0, 0, 43101] });
        let counts = world.wechat.counts(APP, &openid).unwrap();
        assert_eq!(counts.templates[ORDER].accepted_sends, if shares { 3 } else { 1 });
        let apart = counts.apart.get(ORDER).map(|c| (c.accept_taps, c.accepted_sends, c.remaining));
        assert_eq!(apart, (!shares).then_some((2, 2, 0)));
        // A switch is the user's, whatever version it is about.
        let tap = TapSpec { version: Version::Trial, ..TapSpec::new(&openid, &[ORDER], Choice::Accept) };
        world.wechat.tap(APP, &tap).unwrap();
        world.wechat.change_setting(APP, &openid, Some(ORDER), SettingState::Reject).unwrap();
        assert_eq!(code(&world.send(&token, &state_of("trial", &openid, ORDER)).await), 43101);
        world.wechat.change_setting(APP, &openid, Some(ORDER), SettingState::Accept).unwrap();
        assert_eq!(code(&world.send(&token, &state_of("trial", &openid, ORDER)).await), 0);
    }
}

/// The words of each push got, by template.
fn told(receiver: &Receiver) -> Vec<Vec<(String, String)>> {
    let item = |item: &std::collections::BTreeMap<String, String>| {
        (item["TemplateId"].clone(), item["SubscribeStatusString"].clone())
    };
    receiver.got().iter().map(|g| read(&g.body).items.iter().map(item).collect()).collect()
}

#[tokio::test]
async fn silent_taps_push_only_where_it_is_so() {
    let (world, receiver) = plain_world().await;
    let openid = world.user();
    let kept = TapSpec { keep: true, ..TapSpec::new(&openid, &[ORDER], Choice::Accept) };
    world.wechat.tap(APP, &kept).unwrap();
    let silent = TapSpec {
        choice: None,
        id: Some("silent-1".to_owned()),
        ..TapSpec::new(&openid, &[ORDER], Choice::Accept)
    };
    for (habit, pushes) in [(Habit::Never, 1), (Habit::Always, 2)] {
        under(&world, Reality { silent_taps_push: habit, ..Reality::default() });
        world.wechat.tap(APP, &silent).unwrap();
        settled(&world).await;
        assert_eq!(receiver.got().len(), pushes, "{habit:?}");
    }
    assert_eq!(world.remaining(&openid), 3, "each call adds one, told or not");
    let acts = world.wechat.acts();
    let Act::Tap { id, popup, answers, .. } = &acts[1].act else { panic!("{acts:?}") };
    assert_eq!((id.as_str(), *popup, answers[0].silent, answers[0].added), ("silent-1", false, true, true));
    assert_eq!((acts[1].push, acts[2].push), (None, Some(2)));
    let Act::Tap { id, popup, .. } = &acts[0].act else { panic!("{acts:?}") };
    assert_eq!((id.as_str(), *popup), ("tap-1", true));

    // A call that asks for one template and has an answer for the other tells of the one that was asked.
    under(&world, Reality::default());
    let mixed = TapSpec {
        template_ids: vec![ORDER.to_owned(), LEVEL.to_owned()],
        choices: [(LEVEL.to_owned(), Choice::Reject)].into(),
        ..silent
    };
    world.wechat.tap(APP, &mixed).unwrap();
    settled(&world).await;
    assert_eq!(told(&receiver).pop().unwrap(), [(LEVEL.to_owned(), "reject".to_owned())]);
}

#[tokio::test]
async fn words_of_pushes_are_plain_or_exact() {
    let (world, receiver) = plain_world().await;
    let twin = subledger_sandbox::Template::one_time("TPL_twin", "取餐", "甲:{{thing1.DATA}}");
    world.wechat.create_template(APP, twin).unwrap();
    let openid = world.user();
    for habit in [Habit::Never, Habit::Always] {
        under(&world, Reality { exact_words: habit, unusual_words_push: habit, ..Reality::default() });
        let tap = TapSpec::new(&openid, &[ORDER, "TPL_twin"], Choice::AcceptWithAudio);
        world.wechat.tap(APP, &tap).unwrap();
        // A template that WeChat has banned, alone: a push only where such words are told.
        world.wechat.tap(APP, &TapSpec::new(&openid, &[LEVEL], Choice::Ban)).unwrap();
        settled(&world).await;
    }
    let pair = |id: &str, word: &str| (id.to_owned(), word.to_owned());
    assert_eq!(
        told(&receiver),
        [
            vec![pair(ORDER, "accept")],
            vec![pair(ORDER, "acceptWithAudio"), pair("TPL_twin", "filter")],
            vec![pair(LEVEL, "ban")],
        ]
    );
}

#[tokio::test]
async fn changes_of_settings_push_rejects_only() {
    let (world, receiver) = plain_world().await;
    let openid = world.user();
    world.wechat.tap(APP, &TapSpec::new(&openid, &[ORDER, LEVEL], Choice::Accept)).unwrap();
    let set = |place, template: Option<&str>, state| {
        world.wechat.change_setting_at(place, APP, &openid, template, state).unwrap();
    };
    let page = SettingPlace::SettingsPage;
    set(SettingPlace::Card, Some(ORDER), SettingState::Reject);
    set(SettingPlace::Card, Some(ORDER), SettingState::Accept);
    set(page, Some(LEVEL), SettingState::Reject);
    set(page, None, SettingState::MainSwitchOff);
    set(page, None, SettingState::MainSwitchOn);
    settled(&world).await;
    assert_eq!(receiver.got().len(), 3, "the tap, and two rejects");
    let quiet = Reality {
        settings_page_pushes: Habit::Never,
        main_switch_pushes: Habit::Always,
        ..Reality::default()
    };
    under(&world, quiet);
    set(page, Some(LEVEL), SettingState::Reject);
    set(page, None, SettingState::MainSwitchOff);
    settled(&world).await;
    let pushes = told(&receiver);
    assert_eq!(pushes.len(), 4);
    let ids: std::collections::BTreeSet<_> = pushes[3].iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, [ORDER, LEVEL].into());
    assert!(pushes[3].iter().all(|(_, word)| word == "reject"));
    let over_http =
        json!({ "openid": openid, "template_id": LONG, "state": "reject", "place": "settings_page" });
    world.post(&format!("/sandbox/apps/{APP}/settings"), &over_http).await;
    let last = world.wechat.acts().pop().unwrap();
    assert!(matches!(last.act, Act::Setting { place: SettingPlace::SettingsPage, .. }), "{last:?}");
    assert_eq!(last.push, None);
}

#[tokio::test]
async fn each_app_has_its_own_reality_and_a_reset_forgets_it() {
    let world = World::new().await;
    let path = format!("/sandbox/apps/{APP}/reality");
    assert_eq!(world.get(&path).await["profile"], "observed");
    let put = |body: Value| world.http.put(format!("{}{path}", world.base)).json(&body).send();
    let answer: Value = put(json!({ "profile": "documented" })).await.unwrap().json().await.unwrap();
    assert_eq!(
        (&answer["profile"], &answer["reality"]["answer_msgid"]),
        (&json!("documented"), &json!(false))
    );
    assert_eq!(put(json!({ "profile": "documented", "lose_msgid": 3 })).await.unwrap().status(), 400);
    assert_eq!(world.get("/sandbox/reality").await["answer_msgid"], true);
    let answer: Value = put(json!({ "list": "array" })).await.unwrap().json().await.unwrap();
    assert_eq!(answer["profile"], "custom");
    let books = world.get(&format!("/sandbox/apps/{APP}/books")).await;
    assert_eq!((&books["profile"], &books["sums"]["remaining"]), (&json!("custom"), &json!(0)));
    world.wechat.reset();
    world.wechat.create_app(subledger_sandbox::AppSpec::new(APP, "s")).unwrap();
    assert_eq!(world.get(&path).await["profile"], "observed");
}
