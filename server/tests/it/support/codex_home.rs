//! A home for the real Codex: the test's model provider and nothing that
//! reaches the network.

use super::place::Place;

/// The key of the test's model provider. No real key comes near a test.
pub(crate) const CODEX_KEY: &str = "fake-key-of-the-tests";

/// The variable it is in.
pub(crate) const KEY_VARIABLE: &str = "FAKE_PROVIDER_KEY";

/// Makes the home, with the provider at `url`.
pub(crate) fn prepare_home(place: &Place, url: &str) {
    prepare_home_with(place, url, "");
}

/// The same, with more lines about the provider.
pub(crate) fn prepare_home_with(place: &Place, url: &str, more: &str) {
    let home = place.file("codex-home");
    std::fs::create_dir_all(&home).expect("a directory in a fresh temp directory");
    let config = format!(
        "model = \"gpt-5\"\nmodel_provider = \"fake\"\n\
         [model_providers.fake]\nname = \"fake\"\nbase_url = \"{url}\"\n\
         env_key = \"{KEY_VARIABLE}\"\nwire_api = \"responses\"\n\
         request_max_retries = 1\nstream_max_retries = 1\n{more}\n\
         [features]\nplugins = false\n"
    );
    std::fs::write(home.join("config.toml"), config).expect("a file in the temp directory");
}

/// What leads Codex there.
pub(crate) fn variables(place: &Place) -> [(&'static str, String); 3] {
    [
        ("CODEX_HOME", place.file("codex-home").display().to_string()),
        (KEY_VARIABLE, CODEX_KEY.to_owned()),
        // Below the directory for temporary files Codex makes no home of its
        // helpers, and without those there is no sandbox.
        ("TMPDIR", place.workspace().display().to_string()),
    ]
}
