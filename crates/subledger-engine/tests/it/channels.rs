//! Channels, templates, bindings by login code, API keys.

use secrecy::{ExposeSecret, SecretString};
use subledger_domain::{
    AppId,
    app::{Created, Right},
    channel::{Policy, TokenMode},
};
use subledger_engine::{
    ErrorKind,
    channels::NewChannel,
    users::{BindBy, BindResult},
};
use subledger_sandbox::Template;

use crate::world::{APPID, SECRET, TEMPLATE, World};

fn channel(code: &str, appid: &str, secret: &str) -> NewChannel {
    NewChannel {
        code: code.parse().unwrap(),
        name: "Another".to_owned(),
        appid: appid.to_owned(),
        secret: SecretString::from(secret),
        token_mode: TokenMode::Stable,
        token_url: None,
        policy: Policy::default(),
        idempotency_key: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_wechat_refuses_set_nothing_up() {
    let world = World::new().await;
    world.wechat.change_app(APPID, |app| app.ip_allowlist_on = true).unwrap();
    for (appid, secret, code) in
        [("wx0000000000none", SECRET, 40013), (APPID, "wrong-secret", 40125), (APPID, SECRET, 40164)]
    {
        let error =
            world.engine.register_channel(&world.caller, channel("other1", appid, secret)).await.unwrap_err();
        let said = error.wechat.as_ref().unwrap();
        assert_eq!((error.kind, said.errcode), (ErrorKind::Invalid, Some(code)));
        assert!(!said.advice_en.is_empty() && !said.advice_zh.is_empty());
        assert_eq!(said.caller_ip.is_some(), code == 40164);
        assert!(!format!("{error:?}").contains(secret), "an error must not carry the secret");
    }
    let code = "other1".parse().unwrap();
    assert_eq!(world.engine.registered(&code).await.unwrap_err().code, "unknown_channel");
    let again = world
        .engine
        .register_channel(&world.caller, channel("wechatmp123", APPID, SECRET))
        .await
        .unwrap_err();
    assert_eq!(again.code, "channel_exists");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_tells_added_changed_and_vanished() {
    let world = World::new().await;
    world.wechat.delete_template(APPID, TEMPLATE).unwrap();
    world
        .wechat
        .create_template(APPID, Template::one_time("TPL_new_one", "新", "说明:{{thing5.DATA}}\n"))
        .unwrap();
    // The world has just refreshed; the next refresh is let through after its interval.
    let refreshed = loop {
        match world.engine.refresh_templates(&world.caller, &world.code).await {
            Ok(done) => break done.answer,
            Err(error) => assert_eq!((error.kind, error.code), (ErrorKind::TooOften, "refresh_too_soon")),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    let ids = |ids: &[subledger_domain::TemplateId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        (ids(&refreshed.added), ids(&refreshed.vanished)),
        (vec!["TPL_new_one".to_owned()], vec![TEMPLATE.to_owned()])
    );
    let soon = world.engine.refresh_templates(&world.caller, &world.code).await.unwrap_err();
    assert_eq!(soon.code, "refresh_too_soon");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_code_binds_once_and_another_openid_moves_the_user() {
    let world = World::new().await;
    let openid = world.wechat.create_user(APPID, None).unwrap();
    let code = world.wechat.create_login_code(APPID, &openid).unwrap();
    let bind = async |by| {
        world.engine.bind_user(&world.caller, &world.code, "zhangsan".parse().unwrap(), by, None).await
    };
    let login = || BindBy::LoginCode(SecretString::from(code.clone()));
    assert_eq!(bind(login()).await.unwrap().answer, BindResult::Bound);
    let used = bind(login()).await.unwrap_err();
    assert_eq!(used.wechat.as_ref().unwrap().errcode, Some(40163));
    assert_eq!(bind(BindBy::Openid(openid.parse().unwrap())).await.unwrap().answer, BindResult::Unchanged);
    let other = world.wechat.create_user(APPID, None).unwrap();
    assert_eq!(bind(BindBy::Openid(other.parse().unwrap())).await.unwrap().answer, BindResult::Moved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_works_until_it_is_revoked() {
    let world = World::new().await;
    let app: AppId = "shop".parse().unwrap();
    let created = Created {
        name: "Shop".to_owned(),
        rights: [Right::Send].into(),
        channels: Some([world.code.clone()].into()),
    };
    let key = world.engine.create_app(&world.caller, app.clone(), created).await.unwrap();
    let rights = world.engine.authenticate(&key).await.unwrap();
    assert!(rights.require(Right::Send, Some(&world.code)).is_ok());
    assert!(rights.require(Right::Read, Some(&world.code)).is_err());
    assert!(rights.require(Right::Send, Some(&"other1".parse().unwrap())).is_err());

    let mut forged = key.expose_secret().to_owned();
    let last = if forged.pop() == Some('0') { '1' } else { '0' };
    forged.push(last);
    for wrong in [forged, "slk_x".to_owned(), String::new()] {
        let error = world.engine.authenticate(&SecretString::from(wrong)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthenticated);
    }
    let second = world.engine.add_key(&world.caller, app.clone()).await.unwrap();
    world.engine.revoke_key(&world.caller, app, key.expose_secret()).await.unwrap();
    assert!(world.engine.authenticate(&key).await.is_err());
    assert!(world.engine.authenticate(&second).await.is_ok());
}
