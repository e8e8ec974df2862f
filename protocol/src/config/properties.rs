//! Property tests of the configuration with generated bodies.

use proptest::prelude::*;

use super::{MASK, QueryConfig};

const CASES: u32 = 256;

/// JSON values that a body could hold, unusual ones included.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("***".to_owned()).prop_map(|text| format!("{text:?}")),
        Just(r#""\ud800""#.to_owned()),
        Just(r#""a\u0000""#.to_owned()),
        Just("1e400".to_owned()),
        "-?[1-9][0-9]{0,20}(\\.[0-9]{1,3})?".prop_map(|number| number),
        "[ -~\u{e9}\u{1f600}]{0,12}".prop_map(|text| serde_json::Value::from(text).to_string()),
        prop::sample::select(vec!["preset", "claude_code", "json_schema", "http", "stdio", "sdk"])
            .prop_map(|text| format!("{text:?}")),
    ];
    leaf.prop_recursive(5, 64, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_map(|list| format!("[ {} ]", list.join(" , "))),
            prop::collection::vec((name(), inner), 0..5).prop_map(object),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "agents",
            "allowedTools",
            "systemPrompt",
            "model",
            "mcpServers",
            "tools",
            "maxTurns",
            "maxBudgetUsd",
            "settingSources",
            "outputFormat",
            "env",
            "anthropicApiKey",
            "anthropicBaseUrl",
            "authToken",
            "provider",
            "type",
            "preset",
            "append",
            "schema",
            "url",
            "command",
            "headers",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,6}",
    ]
}

fn object(fields: Vec<(String, String)>) -> String {
    let fields: Vec<_> = fields
        .into_iter()
        .map(|(name, value)| format!("{}:\t{value}", serde_json::Value::from(name)))
        .collect();
    format!("{{{}}}", fields.join(",\r\n"))
}

fn echo(config: &QueryConfig) -> String {
    serde_json::to_string(&config.echo()).unwrap()
}

/// A configuration with a marked secret in every possible place; the rest is
/// random.
fn with_secrets() -> impl Strategy<Value = String> {
    let secret = "canary-[ !#-\\[\\]-~\u{e9}]{0,12}";
    let url = "https://canary-[a-z:]{0,8}@[a-z]{1,5}(:[0-9]{1,4})?/(@?[a-z/]{0,5})(\\?k=canary-[a-z]{0,4}(&canary-x)?)?(#canary-y)?";
    (
        prop::collection::vec((name(), secret), 0..4),
        secret,
        url,
        prop::collection::vec("[ -~]{0,9}", 0..3),
    )
        .prop_map(|(map, secret, url, list)| {
            let map: serde_json::Map<_, _> = map
                .into_iter()
                .filter(|(name, _)| !name.contains([' ', '=']) && !name.is_empty())
                .map(|(name, value)| (format!("X_{name}"), value.into()))
                .collect();
            let server = serde_json::json!({"type": "http", "url": url, "headers": map, "x": list});
            let stdio = serde_json::json!({"command": "c", "args": list, "env": map});
            serde_json::json!({
                "anthropicApiKey": secret,
                "claudeCodeOauthToken": secret,
                "anthropicAuthToken": secret,
                "anthropicBaseUrl": url,
                "env": map,
                "mcpServers": {"h": server, "s": stdio},
                "agents": {"a": {"prompt": "p", "x": list, "mcpServers": ["h", {"i": server, "j": stdio}]}},
                "allowedTools": list,
            })
            .to_string()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: CASES, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_answered(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = QueryConfig::parse(&body, &QueryConfig::default());
    }

    #[test]
    fn any_object_is_answered_and_what_is_taken_survives_its_echo(
        fields in prop::collection::vec((name(), value()), 0..6),
    ) {
        let none = QueryConfig::default();
        match QueryConfig::parse(object(fields).as_bytes(), &none) {
            Err(error) => prop_assert!(error.to_string().len() < 1000),
            Ok(parsed) => {
                let shown = echo(&parsed.config);
                prop_assert!(!shown.contains(['\n', '\r']));
                // The echo leaves credentials out; adding them back completes
                // it.
                let mut body: serde_json::Map<String, serde_json::Value> =
                    match serde_json::from_str(&shown) {
                        Ok(body) => body,
                        // Numbers that only this test's parser cannot
                        // represent.
                        Err(_) => return Ok(()),
                    };
                if parsed.config.anthropic_api_key.is_some() {
                    body.insert("anthropicApiKey".into(), MASK.into());
                }
                let text = serde_json::to_string(&body).unwrap();
                let again = QueryConfig::parse(text.as_bytes(), &parsed.config);
                prop_assert_eq!(echo(&again.unwrap().config), shown);
            }
        }
    }

    #[test]
    fn no_secret_is_shown_and_masks_keep_all(body in with_secrets()) {
        let parsed = QueryConfig::parse(body.as_bytes(), &QueryConfig::default()).unwrap();
        let shown = echo(&parsed.config);
        prop_assert!(!shown.contains("canary"), "{}", shown);
        let debug = format!("{parsed:?}");
        prop_assert!(!debug.contains("canary"), "{}", debug);

        let mut again: serde_json::Value = serde_json::from_str(&shown).unwrap();
        for field in ["anthropicApiKey", "claudeCodeOauthToken", "anthropicAuthToken"] {
            again[field] = MASK.into();
        }
        let again = QueryConfig::parse(again.to_string().as_bytes(), &parsed.config).unwrap();
        prop_assert_eq!(again.config, parsed.config);
    }

    #[test]
    fn an_error_holds_no_secret(body in with_secrets(), extra in (name(), value())) {
        let mut text = body;
        text.truncate(text.len() - 1);
        text.push_str(&format!(",{}:{}}}", serde_json::Value::from(extra.0), extra.1));
        if let Err(error) = QueryConfig::parse(text.as_bytes(), &QueryConfig::default()) {
            prop_assert!(!error.to_string().contains("canary"));
        }
    }
}
