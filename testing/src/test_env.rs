//! Home, workspace and environment of one test.

use crate::messages_api::MessagesApi;
use crate::wait;
use rustix::process::{Uid, geteuid};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The key the CLI is given. No real key ever comes near a test.
pub const TEST_KEY: &str = "sk-ant-test-key";

/// A home and a workspace that vanish with the test.
pub struct TestEnv {
    root: TempDir,
}

impl Default for TestEnv {
    fn default() -> Self {
        Self::new()
    }
}

impl TestEnv {
    /// Makes the directories.
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// Makes them outside of the directory for temporary files, which is a
    /// private one inside a sandbox.
    pub fn outside_of_tmp() -> Self {
        Self::below(Path::new("/var/tmp"))
    }

    fn below(directory: &Path) -> Self {
        let root = tempfile::Builder::new().prefix("relay-test-").tempdir_in(directory);
        let env = Self { root: root.expect("a temp directory") };
        for directory in [env.home(), env.workspace(), env.config()] {
            std::fs::create_dir(&directory).expect("a directory in a fresh temp directory");
        }
        env
    }

    /// The home directory.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// The agent's workspace.
    pub fn workspace(&self) -> PathBuf {
        self.root.path().join("workspace")
    }

    /// Directory in which the CLI keeps its sessions and settings.
    fn config(&self) -> PathBuf {
        self.root.path().join("claude")
    }

    /// Waits until the CLI has written `text` to a session file.
    ///
    /// It writes with a delay of some 100 ms, so a kill just after a message
    /// leaves a session without it, and just after the first one no session.
    pub async fn session_holds(&self, text: &str) {
        wait::until(&format!("`{text}` in a session file"), || {
            files_below(&self.config().join("projects"))
                .into_iter()
                .any(|file| {
                    std::fs::read_to_string(file).is_ok_and(|session| session.contains(text))
                })
                .then_some(())
        })
        .await;
    }

    /// Gives all files to a user without rights and returns that user. Neither
    /// permissions nor a limit of processes bind root, as which the tests may
    /// run. Any other user is returned as it is.
    pub fn give_to_nobody(&self) -> Uid {
        const NOBODY: u32 = 65534;
        let own = geteuid();
        if !own.is_root() {
            return own;
        }
        let mut open = vec![self.root.path().to_owned()];
        while let Some(path) = open.pop() {
            std::os::unix::fs::lchown(&path, Some(NOBODY), None).expect("root may do that");
            if path.is_dir() {
                let entries = std::fs::read_dir(path).expect("a directory of the test");
                open.extend(entries.flatten().map(|entry| entry.path()));
            }
        }
        Uid::from_raw(NOBODY)
    }

    /// A path for a file of the test's own, outside home and workspace.
    pub fn file(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root.path().join(name)
    }

    /// A whole environment: the variables that a program needs to run, no
    /// traffic of the CLI but to the test's API, and permission to run as root.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let path = |path: PathBuf| path.into_os_string().into_string().expect("a UTF-8 temp path");
        [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("LANG", "C.UTF-8".to_owned()),
            ("HOME", path(self.home())),
            ("TMPDIR", path(self.root.path().to_owned())),
            ("CLAUDE_CONFIG_DIR", path(self.config())),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
            ("DISABLE_TELEMETRY", "1".to_owned()),
            ("DISABLE_ERROR_REPORTING", "1".to_owned()),
            ("DISABLE_AUTOUPDATER", "1".to_owned()),
            ("IS_SANDBOX", "1".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// [`environment`](Self::environment) with the address of `api` and a key.
    pub fn environment_with(&self, api: &MessagesApi) -> BTreeMap<String, String> {
        let mut environment = self.environment();
        environment.insert("ANTHROPIC_BASE_URL".to_owned(), api.url());
        environment.insert("ANTHROPIC_API_KEY".to_owned(), TEST_KEY.to_owned());
        environment
    }
}

/// Every file below a directory; none if it does not exist.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] })
        .collect()
}
