//! Names in a store: the keys of the Agent SDK's session store, and the parts
//! below them as its adapter for S3 lays them out.
//!
//! `{project}/{session}/part-{milliseconds}-{random}.jsonl`, and for sub-agents
//! `{project}/{session}/{subpath}/part-….jsonl`. Their order is that of the
//! names.

use std::path::{Component, Path};

use crate::conversations::is_id;

/// Longest name of a part of a path.
const NAME_BYTES: usize = 255;

/// Most parts of the path below a session.
const MAX_DEPTH: usize = 8;

/// Digits of the milliseconds, so that names sort by time.
const DIGITS: usize = 13;

/// The key of one transcript.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The folder of a working directory.
    pub project: String,
    /// The conversation.
    pub session: String,
    /// The transcript of a sub-agent, such as `subagents/agent-1`.
    pub subpath: Option<String>,
}

impl Key {
    /// Returns the key of a file that the CLI keeps below `projects`, by the
    /// rules of the Agent SDK. `None` for any other file.
    #[must_use]
    pub fn of_file(file: &Path, projects: &Path) -> Option<Self> {
        let parts: Vec<&str> = file
            .strip_prefix(projects)
            .ok()?
            .components()
            .map(|part| match part {
                Component::Normal(part) => part.to_str(),
                _ => None,
            })
            .collect::<Option<_>>()?;
        let (last, above) = parts.split_last()?;
        let last = last.strip_suffix(".jsonl")?;
        let key = match above {
            [project] => Self { project: (*project).into(), session: last.into(), subpath: None },
            [project, session, below @ ..] if !below.is_empty() => Self {
                project: (*project).into(),
                session: (*session).into(),
                subpath: Some([below, &[last]].concat().join("/")),
            },
            _ => return None,
        };
        key.is_safe().then_some(key)
    }

    /// Returns true if every part is a plain name, so that no key leads
    /// elsewhere.
    #[must_use]
    pub fn is_safe(&self) -> bool {
        is_name(&self.project)
            && is_id(&self.session)
            && self.subpath.as_deref().is_none_or(is_safe_subpath)
    }

    /// Returns the path that its parts are below.
    #[must_use]
    pub fn directory(&self) -> String {
        let Self { project, session, subpath } = self;
        match subpath {
            None => format!("{project}/{session}"),
            Some(subpath) => format!("{project}/{session}/{subpath}"),
        }
    }
}

/// Returns true for the path of a sub-agent's transcript below its session.
#[must_use]
pub fn is_safe_subpath(subpath: &str) -> bool {
    subpath.split('/').count() <= MAX_DEPTH && subpath.split('/').all(is_name)
}

/// Returns true for a plain name: of an allow-list of characters, and not
/// hidden.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty()
        && name.len() <= NAME_BYTES
        && !name.starts_with('.')
        && name.bytes().all(is_plain)
}

/// Returns the name of a part.
#[must_use]
pub fn part_name(milliseconds: u64) -> String {
    let random = claude_relay_random::hexadecimal::<3>();
    format!("part-{milliseconds:0DIGITS$}-{random}.jsonl")
}

/// Returns the time in the name of a part; `None` for what is none.
#[must_use]
pub fn part_time(name: &str) -> Option<u64> {
    let (digits, random) = name.strip_prefix("part-")?.strip_suffix(".jsonl")?.split_once('-')?;
    let is_part = digits.len() == DIGITS
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && random.len() == 6
        && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_part.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-2222-4333-8444-555555555555";

    fn key(file: &str) -> Option<String> {
        let key = Key::of_file(Path::new(file), Path::new("/h/projects"))?;
        Some(key.directory())
    }

    #[test]
    fn files_of_the_cli_have_the_keys_of_the_sdk() {
        assert_eq!(key(&format!("/h/projects/-w/{ID}.jsonl")).unwrap(), format!("-w/{ID}"));
        assert_eq!(
            key(&format!("/h/projects/-w/{ID}/subagents/agent-1.jsonl")).unwrap(),
            format!("-w/{ID}/subagents/agent-1")
        );
    }

    #[test]
    fn no_key_leads_elsewhere() {
        for file in [
            format!("/h/projects/../projects/-w/{ID}.jsonl"),
            format!("/elsewhere/-w/{ID}.jsonl"),
            format!("/h/projects/{ID}.jsonl"),
            format!("/h/projects/-w/{ID}/agent-1.jsonl"),
            format!("/h/projects/-w/{ID}/../x/agent-1.jsonl"),
            format!("/h/projects/-w/{ID}/.hidden/agent-1.jsonl"),
            format!("/h/projects/-w/{ID}/sub agents/agent-1.jsonl"),
            format!("/h/projects/-w/{ID}/a\\b/agent-1.jsonl"),
            format!("/h/projects/.w/{ID}.jsonl"),
            "/h/projects/-w/notes.jsonl".into(),
            format!("/h/projects/-w/{ID}.txt"),
            format!("/h/projects/-w/{ID}/{}1.jsonl", "a/".repeat(9)),
        ] {
            assert_eq!(key(&file), None, "{file}");
        }
    }

    #[test]
    fn parts_sort_by_their_time() {
        let name = part_name(1_795_891_029_675);
        assert_eq!(part_time(&name), Some(1_795_891_029_675));
        assert!(part_name(9) < part_name(10));
        for other in [
            "part-1-abcdef.jsonl",
            "x",
            "part-1795891029675-abcdeg.jsonl",
            "part-1795891029675-abcdef",
        ] {
            assert_eq!(part_time(other), None, "{other}");
        }
    }
}
