//! A home for the real Codex: the test's model provider and nothing that
//! reaches the network.

use crate::test_env::TestEnv;

/// The key of the test's model provider. No real key comes near a test.
pub const CODEX_KEY: &str = "fake-key-of-the-tests";

/// The variable it is in.
pub const KEY_VARIABLE: &str = "FAKE_PROVIDER_KEY";

/// Additions of a test to Codex's own configuration.
#[derive(Clone, Copy, Default)]
pub struct Home<'a> {
    /// More lines about the model's provider.
    pub provider: &'a str,
    /// More features.
    pub features: &'a str,
}

/// Makes the home, with the provider at `url`.
pub fn prepare_home(env: &TestEnv, url: &str) {
    Home::default().prepare(env, url);
}

impl Home<'_> {
    /// Makes it, with the provider at `url`.
    pub fn prepare(self, env: &TestEnv, url: &str) {
        let Self { provider, features } = self;
        let home = env.file("codex-home");
        std::fs::create_dir_all(&home).expect("a directory in a fresh temp directory");
        let config = format!(
            "model = \"gpt-5\"\nmodel_provider = \"fake\"\n\
             [model_providers.fake]\nname = \"fake\"\nbase_url = \"{url}\"\n\
             env_key = \"{KEY_VARIABLE}\"\nwire_api = \"responses\"\n\
             request_max_retries = 1\nstream_max_retries = 1\n{provider}\n\
             [features]\nplugins = false\n{features}\n"
        );
        std::fs::write(home.join("config.toml"), config).expect("a file in the temp directory");
    }
}

/// Variables that lead Codex to the home.
pub fn variables(env: &TestEnv) -> [(&'static str, String); 3] {
    [
        ("CODEX_HOME", env.file("codex-home").display().to_string()),
        (KEY_VARIABLE, CODEX_KEY.to_owned()),
        // Below the directory for temporary files Codex makes no home of its
        // helpers, and without those there is no sandbox.
        ("TMPDIR", env.workspace().display().to_string()),
    ]
}
