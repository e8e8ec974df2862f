//! The command line. Unknown flags are ignored, so that every flag the relay
//! sends is accepted.

use std::ffi::OsString;

/// Flags that change the behaviour of the demo agent.
pub(super) struct Options {
    /// `--include-partial-messages`: `stream_event` lines are printed.
    pub(super) partials: bool,
    /// `--permission-prompt-tool=stdio`: permission requests are sent on
    /// stdout.
    pub(super) prompts: bool,
    /// `--permission-mode`, default `default`.
    pub(super) permission_mode: String,
    /// True if `bypassPermissions` may be set later.
    pub(super) may_bypass: bool,
    /// `--model`, default `demo`.
    pub(super) model: String,
    /// Session id set by the flags.
    pub(super) session_id: Option<String>,
}

/// Model in `system/init` if the flags name none.
pub(super) const DEFAULT_MODEL: &str = "demo";

impl Options {
    /// Parses the flags, both as `--flag=value` and as `--flag value`.
    pub(super) fn parse(args: impl Iterator<Item = OsString>) -> Self {
        let mut options = Self {
            partials: false,
            prompts: false,
            permission_mode: "default".to_owned(),
            may_bypass: false,
            model: DEFAULT_MODEL.to_owned(),
            session_id: None,
        };
        let (mut resume, mut fork) = (None, false);
        let mut args = args.map(|arg| arg.to_string_lossy().into_owned()).peekable();
        while let Some(arg) = args.next() {
            let (flag, joined) = match arg.split_once('=') {
                Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
                None => (arg, None),
            };
            let mut value =
                || joined.clone().or_else(|| args.next_if(|next| !next.starts_with('-')));
            match flag.as_str() {
                "--include-partial-messages" => options.partials = true,
                "--permission-prompt-tool" => options.prompts = value().as_deref() == Some("stdio"),
                "--permission-mode" => {
                    if let Some(mode) = value() {
                        options.may_bypass |= mode == "bypassPermissions";
                        options.permission_mode = mode;
                    }
                }
                "--allow-dangerously-skip-permissions" => options.may_bypass = true,
                "--dangerously-skip-permissions" => {
                    options.may_bypass = true;
                    options.permission_mode = "bypassPermissions".to_owned();
                }
                "--model" => options.model = value().unwrap_or(options.model),
                "--resume" => resume = value(),
                "--session-id" => options.session_id = value(),
                "--fork-session" => fork = true,
                _ => {}
            }
        }
        if !fork && resume.is_some() {
            options.session_id = resume;
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Options {
        Options::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn values_may_be_joined_or_follow() {
        for args in [&["--model=m", "--resume=s"][..], &["--model", "m", "--resume", "s"]] {
            let options = parse(args);
            assert_eq!((options.model.as_str(), options.session_id.as_deref()), ("m", Some("s")));
        }
    }

    #[test]
    fn unknown_flags_and_their_values_are_ignored() {
        let options = parse(&[
            "--mcp-config",
            "/f.json",
            "--who-knows=1",
            "--verbose",
            "--include-partial-messages",
        ]);
        assert!(options.partials);
        assert_eq!(options.model, DEFAULT_MODEL);
    }

    #[test]
    fn a_fork_gets_a_session_id_of_its_own() {
        assert_eq!(parse(&["--resume=s", "--fork-session"]).session_id, None);
    }

    #[test]
    fn bypassing_can_be_allowed_without_being_on() {
        let options = parse(&["--permission-mode=default", "--allow-dangerously-skip-permissions"]);
        assert!(options.may_bypass);
        assert_eq!(options.permission_mode, "default");
    }
}
