//! The OpenAPI document, and the one that is kept beside the code.

use hyper::StatusCode;
use serde_json::Value;

use crate::support::HubDirectory;

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/schema/hub-openapi.json");

#[test]
#[allow(clippy::disallowed_methods, reason = "the document is written by hand with a variable")]
fn the_kept_document_is_the_one_of_the_types() {
    let document =
        serde_json::to_string_pretty(&claude_relay_hub::http::document()).unwrap() + "\n";
    if std::env::var_os("WRITE_OPENAPI").is_some() {
        std::fs::write(KEPT, &document).unwrap();
    }
    let kept = std::fs::read_to_string(KEPT).unwrap_or_default();
    assert!(kept == document, "WRITE_OPENAPI=1 cargo test -p claude-relay-hub --test it document");
}

#[tokio::test]
async fn every_route_of_the_document_is_served() {
    let place = HubDirectory::demo();
    let hub = place.start().await;
    let document = hub.ok("GET", "/api/openapi.json", Value::Null).await;
    let mut routes = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            routes += 1;
            let path = path.replace("{entryId}", "1").replace(['{', '}'], "");
            let (status, answer) = hub.call(&method.to_uppercase(), &path, Value::Null).await;
            assert_ne!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
            // The login is served where there is a PIN.
            let is_login = path == "/api/auth/login";
            assert!(is_login || answer["error"] != "Not Found", "{method} {path}");
        }
    }
    assert!(routes > 20, "{routes}");
    hub.stop().await;
}
