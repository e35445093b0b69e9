//! Third-party platforms with several nodes on one database: a code is carried out once, whoever gets it.

use secrecy::SecretString;
use subledger_domain::{ChannelCode, LogName};
use subledger_engine::{
    Engine,
    platform::{AuthorizationStatus, BeginAuthorization, PlatformRequest, RedirectAnswer},
};
use subledger_sandbox::{
    AuthorizeSpec, CallPath, ComponentCall, FaultKind, FaultSpec, PlatformDeed, PlatformSpec,
};
use subledger_store::Position;

use crate::{
    place::{Place, on_both_databases},
    world::{APPID, World},
};

const COMPONENT: &str = "wx00000000comp0001";
const SECRET: &str = "component-secret-01";

on_both_databases!(
    two_nodes_that_get_one_code_use_it_once,
    a_node_that_died_after_wechat_took_the_code_is_gone_on_for,
);

/// A platform on both sides; its ticket is handed over as the push would.
async fn set_up(world: &World) {
    let request = PlatformRequest {
        name: "Platform".to_owned(),
        public_url: "https://subledger.example.com".to_owned(),
        secret: Some(SECRET.into()),
        token: Some("compToken01".into()),
        key: Some("Qm9vdHN0cmFwRGVtb0tleUZvckxvY2FsU2FuZGJveDc".into()),
    };
    world.engine.configure_platform(&world.caller, COMPONENT, request).await.unwrap();
    world.wechat.create_platform(PlatformSpec::new(COMPONENT, SECRET)).unwrap();
    world.wechat.push_ticket(COMPONENT).unwrap();
    let ticket: SecretString = world.wechat.platform(COMPONENT).unwrap().ticket.unwrap().into();
    assert!(world.engine.store().keep_ticket(COMPONENT, &ticket, 1).await.unwrap());
}

/// What the browser brings back.
struct Scanned {
    id: uuid::Uuid,
    state: String,
    code: String,
}

async fn scanned(world: &World, code: &ChannelCode) -> Scanned {
    let asked = BeginAuthorization::default();
    let (begun, stored) = world.engine.begin_authorization(&world.caller, code, asked).await.unwrap();
    assert!(!stored && begun.status == AuthorizationStatus::Waiting);
    let (pc, _) = begun.links.unwrap();
    let spec = AuthorizeSpec { appid: APPID.to_owned(), link: Some(pc), ..AuthorizeSpec::default() };
    let scanned = world.wechat.authorize(COMPONENT, &spec).unwrap();
    let redirect = scanned.redirect.unwrap();
    let (_, state) = redirect.split_once("state=").unwrap();
    let state = state.split('&').next().unwrap().to_owned();
    Scanned { id: begun.id, state, code: scanned.auth_code }
}

async fn redirected(engine: &Engine, scanned: &Scanned) -> RedirectAnswer {
    let (state, code) = (scanned.state.clone().into(), scanned.code.clone().into());
    engine.take_redirect(COMPONENT, state, code, Some(600)).await.unwrap()
}

fn queried(world: &World) -> usize {
    let query =
        |deed: &PlatformDeed| matches!(deed, PlatformDeed::Call { call: ComponentCall::QueryAuth, .. });
    world.wechat.platform_journal().iter().filter(|entry| query(&entry.deed)).count()
}

async fn kinds(world: &World, code: &ChannelCode) -> Vec<String> {
    let events = world.engine.store().read_log(&LogName::channel(code), Position(0), 100).await.unwrap();
    let about = |kind: &String| kind.starts_with("channel.") && !kind.ends_with("templates_refreshed");
    events.iter().map(|event| event.kind_name().to_string()).filter(about).collect()
}

const CHANGED_OVER: [&str; 3] = ["channel.registered", "channel.token_source_changed", "channel.authorized"];

async fn two_nodes_that_get_one_code_use_it_once(place: Place) {
    let world = World::on(&place).await;
    set_up(&world).await;
    let scanned = scanned(&world, &world.code).await;
    let other =
        if place.url.starts_with("sqlite") { world.engine.clone() } else { world.another_node(|_| {}).await };
    let answers = tokio::join!(
        redirected(&world.engine, &scanned),
        redirected(&other, &scanned),
        redirected(&other, &scanned)
    );
    let answers = [answers.0, answers.1, answers.2];
    let authorized = RedirectAnswer::Authorized { channel: world.code.to_string(), missing: Vec::new() };
    let later = RedirectAnswer::Later { channel: world.code.to_string() };
    assert!(answers.contains(&authorized), "{answers:?}");
    assert!(answers.iter().all(|answer| [&authorized, &later].contains(&answer)), "{answers:?}");
    assert_eq!(redirected(&other, &scanned).await, authorized, "the page may be loaded again");
    assert_eq!(queried(&world), 1);
    assert_eq!(kinds(&world, &world.code).await, CHANGED_OVER);
    let view = other.authorization(&world.code, scanned.id).await.unwrap();
    assert_eq!(view.status, AuthorizationStatus::Authorized);

    // Somebody else's state, or none that we made, leads nowhere.
    let guessed = Scanned { state: "A".repeat(32), ..scanned };
    assert_eq!(redirected(&other, &guessed).await, RedirectAnswer::Unknown);
    let unknown: ChannelCode = "another1".parse().unwrap();
    let error = other.authorization(&unknown, guessed.id).await.unwrap_err();
    assert_eq!(error.code, "unknown_authorization");
}

async fn a_node_that_died_after_wechat_took_the_code_is_gone_on_for(place: Place) {
    let world = World::on(&place).await;
    set_up(&world).await;
    let scanned = scanned(&world, &world.code).await;
    world.wechat.inject(FaultSpec::on(FaultKind::DropAfterCommit, CallPath::QueryAuth)).unwrap();
    let later = RedirectAnswer::Later { channel: world.code.to_string() };
    assert_eq!(redirected(&world.engine, &scanned).await, later);
    assert_eq!(
        kinds(&world, &world.code).await,
        ["channel.registered"],
        "nothing is claimed that is not known"
    );

    // The push of the same authorization names the Mini Program; its code is another one and was lost as well.
    let store = world.engine.store();
    let known = subledger_store::NewCode {
        component_appid: COMPONENT.to_owned(),
        code: scanned.code.clone().into(),
        begun: None,
        appid: Some(APPID.to_owned()),
        dated: 1,
        expires_at: world.engine.now().plus_seconds(600),
    };
    store.keep_code(&known).await.unwrap();
    world.engine.start_platforms().await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
    while world.engine.authorization(&world.code, scanned.id).await.unwrap().status
        != AuthorizationStatus::Authorized
    {
        assert!(std::time::Instant::now() < deadline, "nobody went on");
        world.clock.pass_seconds(5);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(kinds(&world, &world.code).await, CHANGED_OVER);
    assert!(queried(&world) >= 2, "it was tried once more, and refused as used");

    // Without the lost answer there is no refresh token; the first call looks it up in WeChat's list.
    let refreshed = world.engine.refresh_templates(&world.caller, &world.code).await;
    assert!(refreshed.is_ok(), "{refreshed:?}");
    let kept = store.authorizer(COMPONENT, APPID).await.unwrap().unwrap();
    assert!(kept.refresh_token.is_some());
}
