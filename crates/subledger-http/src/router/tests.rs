//! Tests of the module above.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;

fn document() -> Value {
    serde_json::to_value(openapi()).unwrap()
}

/// Every operation as (method, path, operation).
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().unwrap();
    let mut operations = Vec::new();
    for (path, item) in paths {
        for (method, operation) in item.as_object().unwrap() {
            operations.push((method.clone(), path.clone(), operation.clone()));
        }
    }
    operations
}

#[test]
fn every_route_of_the_router_is_described() {
    // The only list axum gives of its routes is in its debug output; the last two names there are the fallback's.
    let (router, _) = api().merge(direct()).split_for_parts();
    let debug = format!("{router:?}");
    let served: BTreeSet<String> = debug
        .split('"')
        .filter(|text| text.starts_with('/') && *text != "/" && !text.contains("__private__axum_fallback"))
        .map(str::to_owned)
        .collect();
    assert!(served.len() > 20, "axum no longer lists its routes: {debug}");
    let document = document();
    let described: BTreeSet<String> = document["paths"]
        .as_object()
        .unwrap()
        .keys()
        .filter(|path| path.starts_with(PREFIX))
        .cloned()
        .collect();
    assert_eq!(served, described);
}

#[test]
fn operations_have_unique_ids_a_tag_and_a_summary() {
    let document = document();
    let tags: BTreeSet<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut ids = BTreeMap::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap().to_owned();
        assert_eq!(ids.insert(id.clone(), path.clone()), None, "{id} names two operations");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        let tag = operation["tags"][0].as_str().unwrap();
        assert!(tags.contains(tag), "{method} {path}: tag {tag} is not described");
    }
}

#[test]
fn every_api_operation_names_its_right_and_its_refusals() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        if !path.starts_with(PREFIX) {
            assert!(operation.get("security").is_none(), "{method} {path} needs no key");
            continue;
        }
        let security = &operation["security"];
        if operation["operationId"] == "report_own_tap" {
            assert_eq!(*security, serde_json::json!([{ "UserToken": [] }]), "{method} {path}");
        } else {
            let rights = security[0]["api_key"].as_array().unwrap();
            let expected = usize::from(operation["operationId"] != "whoami");
            assert_eq!(rights.len(), expected, "{method} {path}");
        }
        for status in ["401", "429", "500", "503"] {
            let schema =
                &operation["responses"][status]["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{method} {path} {status}");
        }
        if operation.get("requestBody").is_some() {
            for status in ["400", "413", "415", "422"] {
                assert!(operation["responses"].get(status).is_some(), "{method} {path} {status}");
            }
        }
        if path.contains("{code}") {
            assert!(operation["responses"].get("404").is_some(), "{method} {path}");
        }
    }
}

#[test]
fn every_path_parameter_is_described() {
    let document = document();
    for (method, path, operation) in operations(&document) {
        let wanted: BTreeSet<&str> =
            path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let described: BTreeSet<&str> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "path")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        assert_eq!(wanted, described, "{method} {path}");
        for parameter in &parameters {
            assert!(parameter["description"].as_str().is_some(), "{method} {path}: {parameter}");
        }
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

#[test]
fn secrets_are_write_only_and_in_no_answer() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        let Some(secret) = schema["properties"].get("secret") else { continue };
        assert_eq!(secret["writeOnly"], true, "{name}");
        assert!(name.ends_with("Body"), "{name}");
    }
}

#[tokio::test]
async fn a_panic_becomes_a_problem_without_its_message() {
    use axum::{body::Body, http::Request, routing::get};
    use tower::ServiceExt;

    async fn boom() {
        panic!("the secret is hunter2");
    }
    let router = Router::new()
        .route("/boom", get(boom))
        .layer(Wrap::new(Arc::new(crate::meters::Meters::new()), Door::Open));
    let request = Request::builder().uri("/boom").header("x-request-id", "r-1").body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let problem: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!((&problem["code"], &problem["request_id"]), (&"internal".into(), &"r-1".into()));
    assert!(!problem.to_string().contains("hunter2"));
}

#[test]
fn the_past_of_a_thing_is_described_as_that_thing() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut found = 0;
    for (name, schema) in schemas.iter().filter(|(name, _)| name.starts_with("Past_")) {
        let thing = name.rsplit('_').next().unwrap();
        let then = schema["oneOf"][1].to_string();
        let named = format!("\"#/components/schemas/{thing}\"");
        assert!(then.contains(&named) && then.contains("\"known\""), "{name}: {then}");
        assert!(schemas.contains_key(thing), "{name} refers to a schema that is not there");
        found += 1;
    }
    assert!(found >= 9, "{found}");
}
