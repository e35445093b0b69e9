//! The OpenAPI document and its reader, served from this process alone.

use crate::support::TestApp;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_is_what_the_code_describes() {
    let app = TestApp::empty(subledger_http::HttpSettings::default()).await;
    let served = app.outside("/openapi.json").await.ok(200);
    assert_eq!(served, serde_json::to_value(subledger_http::openapi()).unwrap());
    assert!(served["openapi"].as_str().unwrap().starts_with("3."));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reader_works_without_a_network() {
    let app = TestApp::empty(subledger_http::HttpSettings::default()).await;
    let redirect = app.outside("/docs").await;
    assert_eq!((redirect.status, redirect.header("location")), (303, "/docs/"));
    let page = app.outside("/docs/").await;
    assert!(page.header("content-security-policy").contains("connect-src 'self'"));
    let html = page.text.clone();
    page.ok(200);
    // The policy forbids scripts in the page itself; if the reader's page had one, it would not run.
    assert!(
        html.split("<script").skip(1).all(|rest| rest.split('>').next().unwrap().contains("src=")),
        "{html}"
    );
    let mut assets = Vec::new();
    for attribute in ["src=\"", "href=\""] {
        for rest in html.split(attribute).skip(1) {
            assets.push(rest.split('"').next().unwrap().to_owned());
        }
    }
    assert!(assets.len() >= 4, "{html}");
    for asset in assets {
        assert!(!asset.contains("//"), "loaded from elsewhere: {asset}");
        let answer = app.outside(&format!("/docs/{}", asset.trim_start_matches("./"))).await;
        assert!(!answer.text.is_empty(), "{asset}");
        answer.ok(200);
    }
    let script = app.outside("/docs/swagger-initializer.js").await;
    assert!(script.text.contains("/openapi.json"), "{}", script.text);
    assert!(
        script.text.contains("\"validatorUrl\": \"none\"")
            || script.text.contains("\"validatorUrl\":\"none\"")
    );
    app.outside("/docs/no-such-file.js").await.problem(404, "unknown_route");
}
