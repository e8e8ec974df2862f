use claude_relay_protocol::credentials::BASE_URL;

use super::*;
use std::cell::Cell;

fn environment(set: &[(&str, &str)]) -> Environment {
    set.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn substituted(set: &[(&str, &str)]) -> Result<(Environment, Upstream), SubstituteError> {
    substituted_for(Api::Messages, set)
}

fn substituted_for(
    api: Api,
    set: &[(&str, &str)],
) -> Result<(Environment, Upstream), SubstituteError> {
    let drawn = Cell::new(0);
    substitute(environment(set), api, "http://127.0.0.1:9", || {
        drawn.set(drawn.get() + 1);
        format!("placeholder-{}", drawn.get())
    })
}

fn text(env: &Environment) -> String {
    env.iter().map(|(n, v)| format!("{}={};", n.display(), v.display())).collect()
}

fn headers(set: &[(&'static str, &str)]) -> HeaderMap {
    set.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
}

#[test]
fn no_secret_is_left_in_the_environment() {
    let (env, upstream) = substituted(&[
        ("HOME", "/h"),
        ("ANTHROPIC_API_KEY", "sk-secret-1"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "oat-secret-2"),
        ("MY_COPY", "a sk-secret-1 and sk-secret-1."),
        ("ANTHROPIC_CUSTOM_HEADERS", "X-Gateway: gw-secret-3\nX-B:b"),
        ("ANTHROPIC_BASE_URL", "http://gw:8/base/"),
    ])
    .unwrap();
    assert_eq!(
        text(&env),
        "HOME=/h;ANTHROPIC_API_KEY=placeholder-1;CLAUDE_CODE_OAUTH_TOKEN=placeholder-2;MY_COPY=a placeholder-1 and placeholder-1.;ANTHROPIC_BASE_URL=http://127.0.0.1:9;"
    );
    assert!(!format!("{upstream:?}").contains("secret"), "{upstream:?}");
    assert_eq!(
        upstream.address("/v1/messages?beta=true").unwrap(),
        "http://gw:8/base/v1/messages?beta=true"
    );
}

#[test]
fn a_key_of_codex_goes_to_openai_alone() {
    let set = [
        ("OPENAI_API_KEY", "sk-secret-1"),
        ("OPENAI_BASE_URL", "http://gw:8/base/v1/"),
        ("COPY", "sk-secret-1"),
    ];
    let (env, upstream) = substituted_for(Api::Responses, &set).unwrap();
    assert_eq!(
        text(&env),
        "OPENAI_API_KEY=placeholder-1;COPY=placeholder-1;OPENAI_BASE_URL=http://127.0.0.1:9;"
    );
    assert_eq!(upstream.address("/responses").unwrap(), "http://gw:8/base/v1/responses");
    assert_eq!(
        substituted_for(Api::Responses, &[set[1], ("ANTHROPIC_API_KEY", "key")]).map(|_| ()),
        Err(SubstituteError::NoCredential(Api::Responses))
    );
}

#[test]
fn a_placeholder_key_is_replaced_in_its_header() {
    let (_, upstream) = substituted(&[
        ("ANTHROPIC_API_KEY", "key"),
        ("ANTHROPIC_AUTH_TOKEN", "token"),
        ("ANTHROPIC_CUSTOM_HEADERS", "X-Gateway: gw"),
        ("ANTHROPIC_BASE_URL", "http://gateway"),
    ])
    .unwrap();
    let mut sent =
        headers(&[("x-api-key", "placeholder-1"), ("authorization", "Bearer placeholder-2")]);
    assert_eq!(upstream.restore_credentials(&mut sent), Ok(()));
    assert_eq!(sent["x-api-key"], "key");
    assert_eq!(sent["authorization"], "Bearer token");
    assert_eq!(sent["x-gateway"], "gw");
    for unknown in [
        &[][..],
        &[("x-api-key", "key")],
        &[("x-api-key", "placeholder-1 ")],
        &[("x-api-key", "placeholder-1"), ("authorization", "Bearer token")],
        &[("authorization", "placeholder-2")],
        &[("authorization", "Basic placeholder-2")],
        &[("authorization", "Bearer ")],
    ] {
        assert_eq!(
            upstream.restore_credentials(&mut headers(unknown)),
            Err(UnknownCredential),
            "{unknown:?}"
        );
    }
}

#[test]
fn an_unsupported_configuration_is_refused() {
    let key = ("ANTHROPIC_API_KEY", "key");
    // A build without TLS refuses the default address.
    let base = ("ANTHROPIC_BASE_URL", "http://gateway");
    for (set, expected) in [
        (&[base, ("ANTHROPIC_API_KEY", "")][..], SubstituteError::NoCredential(Api::Messages)),
        (
            &[base, key, ("CLAUDE_CODE_USE_VERTEX", "1")],
            SubstituteError::Provider("CLAUDE_CODE_USE_VERTEX"),
        ),
        (&[base, key, ("https_proxy", "http://p")], SubstituteError::ProxyVariable("https_proxy")),
        (&[key, ("ANTHROPIC_BASE_URL", "api.example.com")], SubstituteError::Address(BASE_URL)),
        (&[key, ("ANTHROPIC_BASE_URL", "ftp://h/")], SubstituteError::Address(BASE_URL)),
        (&[key, ("ANTHROPIC_BASE_URL", "http://user:pw@h/")], SubstituteError::Address(BASE_URL)),
        (&[base, ("ANTHROPIC_API_KEY", "a\nb")], SubstituteError::Header("ANTHROPIC_API_KEY")),
        (
            &[base, key, ("ANTHROPIC_CUSTOM_HEADERS", "no colon")],
            SubstituteError::Header(CUSTOM_HEADERS),
        ),
    ] {
        assert_eq!(substituted(set).map(|_| ()), Err(expected), "{set:?}");
    }
}

#[cfg(feature = "tls")]
#[test]
fn the_default_api_is_the_vendors() {
    let (_, upstream) = substituted(&[("ANTHROPIC_API_KEY", "key")]).unwrap();
    assert_eq!(upstream.address("/v1/messages").unwrap(), "https://api.anthropic.com/v1/messages");
}
