//! Configurations.

use claude_relay_protocol::{QueryConfig, Secret};
use serde_json::Value;

/// A secret that was there before.
const CANARY: &str = "canary-5f2b";

/// The body of `POST /config`: what is shown of it holds no secret, can be
/// posted again, and then changes nothing.
pub fn config(data: &[u8]) {
    // A fuzzer finds the secret by itself, and then its own names hold it.
    if data.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()) {
        return;
    }
    let previous = QueryConfig {
        anthropic_api_key: Some(Secret::new(CANARY.to_owned())),
        ..QueryConfig::default()
    };
    let parsed = match QueryConfig::parse(data, &previous) {
        Ok(parsed) => parsed,
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(CANARY) && text.len() < 2000, "{text}");
            return;
        }
    };
    let debug = format!("{:?}", parsed.config);
    let shown = serde_json::to_string(&parsed.config.echo()).expect("an echo is JSON");
    assert!(!debug.contains(CANARY) && !shown.contains(CANARY));
    // Everybody can read what is shown, but for numbers that only JSON can hold.
    match serde_json::from_str::<Value>(&shown) {
        Ok(value) => {
            for secret in
                ["anthropicApiKey", "claudeCodeOauthToken", "anthropicAuthToken", "authToken"]
            {
                assert!(value.get(secret).is_none(), "{secret} is shown");
            }
        }
        Err(error) => assert!(error.to_string().contains("out of range"), "{error}\n{shown}"),
    }
    // The echo can be posted back: masks keep the secrets.
    let again = match QueryConfig::parse(shown.as_bytes(), &parsed.config) {
        Ok(again) => again,
        Err(error) => panic!("the echo is refused: {error}\n{shown}"),
    };
    assert!(again.ignored.is_empty(), "{:?}", again.ignored);
    let once_more = serde_json::to_string(&again.config.echo()).expect("an echo is JSON");
    assert_eq!(shown, once_more);
}
