//! The same view as a profile for `sandbox-exec` of macOS.
//!
//! Text only: the server itself runs on Linux alone, so nothing here starts a
//! sandbox, and `--sandbox seatbelt` is refused with that reason. The profile
//! is what a port would start with; on a real macOS it has never been tried.

use std::fmt::Write as _;
use std::path::Path;

use super::{MountPlan, STATE_CREDENTIALS, STATE_READABLE, STATE_WRITABLE};

/// The system, to be read.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/System",
    "/Library",
    "/Applications/Xcode.app",
    "/opt",
    "/private/etc",
    "/private/var/db",
    "/private/var/select",
    "/dev",
    "/nix/store",
];

/// The profile. Later rules win over earlier ones, so what is denied for good
/// comes last.
#[must_use]
pub fn profile(view: &MountPlan) -> String {
    let mut profile = Profile(String::from(
        "(version 1)\n(deny default)\n(import \"system.sb\")\n(allow process-fork)\n(allow process-exec)\n(allow signal (target same-sandbox))\n(allow process-info* (target same-sandbox))\n(allow sysctl-read)\n(allow mach-lookup)\n(allow network*)\n(allow file-read-metadata)\n",
    ));
    for directory in SYSTEM {
        profile.rule("allow file-read*", Path::new(directory));
    }
    profile.rule("allow file-read*", &view.workspace);
    if view.writable {
        profile.rule("allow file-write*", &view.workspace);
    }
    if let Some(state) = &view.state {
        for entry in STATE_WRITABLE.into_iter().chain([STATE_CREDENTIALS]) {
            profile.rule("allow file-read* file-write*", &state.join(entry));
        }
        for entry in STATE_READABLE {
            profile.rule("allow file-read*", &state.join(entry));
        }
    }
    if let Some(file) = &view.user_file {
        profile.rule("allow file-read*", file);
    }
    for path in &view.readable {
        profile.rule("allow file-read*", path);
    }
    for device in ["/dev/null", "/dev/zero", "/dev/tty"] {
        profile.rule("allow file-write*", Path::new(device));
    }
    profile.0
}

struct Profile(String);

impl Profile {
    fn rule(&mut self, what: &str, path: &Path) {
        // A String takes everything.
        let _ = writeln!(self.0, "({what} (subpath {}))", quoted(&path.to_string_lossy()));
    }
}

/// A string of the profile's language: no path can end it early.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(writable: bool) -> MountPlan {
        MountPlan {
            program: "/opt/claude".into(),
            cwd: "/Users/u/w".into(),
            workspace: "/Users/u/w".into(),
            writable,
            home: Some("/Users/u".into()),
            state: Some("/Users/u/.claude".into()),
            user_file: Some("/Users/u/.claude.json".into()),
            readable: vec!["/Users/u/\"b\\in".into()],
        }
    }

    #[test]
    fn everything_is_denied_but_what_is_named() {
        let profile = profile(&view(true));
        assert!(profile.starts_with("(version 1)\n(deny default)\n"), "{profile}");
        for rule in [
            "(allow file-write* (subpath \"/Users/u/w\"))\n",
            "(allow file-read* file-write* (subpath \"/Users/u/.claude/projects\"))\n",
            "(allow file-read* (subpath \"/Users/u/.claude/settings.json\"))\n",
            "(allow file-read* (subpath \"/Users/u/\\\"b\\\\in\"))\n",
        ] {
            assert!(profile.contains(rule), "{rule} is missing in {profile}");
        }
        assert!(!profile.contains("(subpath \"/Users/u\"))"), "{profile}");
        assert!(!profile.contains("(subpath \"/\"))"), "{profile}");
        assert_eq!(profile.matches('(').count(), profile.matches(')').count());
    }

    #[test]
    fn a_read_only_workspace_is_only_read() {
        let profile = profile(&view(false));
        assert!(profile.contains("(allow file-read* (subpath \"/Users/u/w\"))"), "{profile}");
        assert!(!profile.contains("file-write* (subpath \"/Users/u/w\"))"), "{profile}");
    }
}
