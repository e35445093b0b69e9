//! The pages behind authorization links: what a person sees, sends, and where they end up.

use std::collections::BTreeMap;

use reqwest::{Client, Url};
use serde_json::json;
use subledger_sandbox::AppSpec;

use crate::platform_world::{COMPONENT, Open};
use crate::support::{APP, code, text};

const PAGES: [&str; 3] =
    ["/cgi-bin/componentloginpage", "/wxaopen/safe/bindcomponent", "/safe/bindcomponent"];

fn browser() -> Client {
    crate::support::client();
    Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

/// A link with a fresh code and what else it has.
async fn link(open: &Open, token: &str, page: &str, more: &[(&str, &str)]) -> Url {
    let made = open.call("api_create_preauthcode", token, json!({})).await;
    let pre_auth_code = text(&made, "pre_auth_code");
    let mut given =
        BTreeMap::from([("component_appid", COMPONENT), ("pre_auth_code", pre_auth_code.as_str())]);
    given.extend([("redirect_uri", "http://back.invalid/done?state=s%26<7>"), ("auth_type", "2")]);
    given.extend(more.iter().copied());
    Url::parse_with_params(&format!("{}{page}", open.world.base), given).unwrap()
}

/// The hidden fields of a page, and the values that its radio buttons and check boxes offer.
fn fields(page: &str) -> (Vec<(String, String)>, Vec<String>, Vec<String>) {
    let plain = |text: &str| {
        text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
    };
    let part = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!("{name}=\"")).unwrap();
        plain(rest.split_once('"').unwrap().0)
    };
    let tags = |kind: &str| -> Vec<String> {
        let opening = format!("<input type=\"{kind}\"");
        page.split(opening.as_str()).skip(1).map(|rest| rest.split_once('>').unwrap().0.to_owned()).collect()
    };
    let values = |kind: &str| tags(kind).iter().map(|tag| part(tag, "value")).collect::<Vec<_>>();
    let hidden = tags("hidden").iter().map(|tag| (part(tag, "name"), part(tag, "value"))).collect();
    (hidden, values("radio"), values("checkbox"))
}

#[tokio::test]
async fn a_person_ticks_sets_and_is_sent_back_with_a_code() {
    let open = Open::new().await;
    let (token, browser) = (open.token().await, browser());
    for page in PAGES {
        let link = link(&open, &token, page, &[]).await;
        let shown = browser.get(link.clone()).send().await.unwrap();
        assert_eq!(shown.status(), 200);
        let (mut form, apps, sets) = fields(&shown.text().await.unwrap());
        assert_eq!((apps, sets), (vec![APP.to_owned()], vec!["17".to_owned(), "18".to_owned()]));
        form.extend([("appid".to_owned(), APP.to_owned()), ("permission_set".to_owned(), "18".to_owned())]);
        let body = Url::parse_with_params("http://x/", &form).unwrap().query().unwrap().to_owned();
        let done = browser.post(link.clone()).body(body.clone()).send().await.unwrap();
        assert_eq!(done.status(), 303);
        let redirect = Url::parse(done.headers()["location"].to_str().unwrap()).unwrap();
        let query: BTreeMap<_, _> = redirect.query_pairs().into_owned().collect();
        assert_eq!((query["state"].as_str(), query["expires_in"].as_str()), ("s&<7>", "600"));
        let info = open.query(&token, &query["auth_code"]).await;
        let sets = &info["authorization_info"]["func_info"];
        assert_eq!(*sets, json!([{ "funcscope_category": { "id": 18 } }]), "{info}");
        let again = browser.post(link.clone()).body(body).send().await.unwrap();
        assert_eq!(again.status(), 403);
        assert_eq!(browser.get(link).send().await.unwrap().status(), 403, "the code was used");
        open.world.wechat.deauthorize(COMPONENT, APP).unwrap();
    }
}

#[tokio::test]
async fn a_link_limits_who_may_authorize_and_what() {
    let open = Open::new().await;
    let (token, browser) = (open.token().await, browser());
    let mut official = AppSpec::new("wxofficial", "s");
    official.settings.account.mini_program = false;
    official.settings.account.nick_name = "<b>\"号\"</b>".to_owned();
    open.world.wechat.create_app(official).unwrap();
    open.world.wechat.create_app(AppSpec::new("wxother", "s")).unwrap();
    let shown = async |more: &[(&str, &str)]| {
        let page = browser.get(link(&open, &token, PAGES[0], more).await).send().await.unwrap();
        let page = page.text().await.unwrap();
        assert!(!page.contains("<b>\""), "names are no markup");
        let (_, apps, sets) = fields(&page);
        (apps.join(" "), sets.join(" "))
    };
    let both = "17 18".to_owned();
    assert_eq!(shown(&[]).await, (format!("{APP} wxother"), both.clone()));
    assert_eq!(shown(&[("auth_type", "1")]).await, ("wxofficial".to_owned(), both.clone()));
    assert_eq!(shown(&[("auth_type", "3")]).await, (format!("{APP} wxofficial wxother"), both.clone()));
    let fixed = [("biz_appid", "wxofficial"), ("category_id_list", "18|99")];
    assert_eq!(shown(&fixed).await, ("wxofficial".to_owned(), "18".to_owned()));
    let link = link(&open, &token, PAGES[0], &[("biz_appid", "wxother")]).await;
    let spec = json!({ "appid": APP, "link": link.as_str() });
    let path = format!("{}/sandbox/platforms/{COMPONENT}/authorize", open.world.base);
    assert_eq!(open.world.http.post(path).json(&spec).send().await.unwrap().status(), 409);
}

#[tokio::test]
async fn pages_open_only_from_the_login_domain_where_there_is_one() {
    let open = Open::new().await;
    let (token, browser) = (open.token().await, browser());
    let domain = |name: &str| {
        let name = Some(name.to_owned());
        open.world.wechat.change_platform(COMPONENT, |s| s.login_domain = name).unwrap();
    };
    domain("back.invalid");
    let link = link(&open, &token, PAGES[0], &[]).await;
    let from = async |referer: Option<&str>| {
        let request = browser.get(link.clone());
        let request = referer.into_iter().fold(request, |r, from| r.header("referer", from));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(from(None).await, 403);
    assert_eq!(from(Some("http://elsewhere.invalid/back.invalid")).await, 403);
    assert_eq!(from(Some("http://back.invalid/console")).await, 200);
    domain("elsewhere.invalid");
    let spec = json!({ "appid": APP, "link": link.as_str() });
    let path = format!("{}/sandbox/platforms/{COMPONENT}/authorize", open.world.base);
    let refused = open.world.http.post(path).json(&spec).send().await.unwrap();
    assert_eq!(refused.status(), 409, "the redirect leads elsewhere");
    let gone = browser.get(format!("{}{}?component_appid=wxnobody", open.world.base, PAGES[0]));
    assert_eq!(gone.send().await.unwrap().status(), 404);
    assert_eq!(code(&open.list(&token).await), 0);
}
