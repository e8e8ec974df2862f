//! The path of a file in a URL.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use super::error::FileError;

/// The path below which files are served.
const PREFIX: &str = "/files";

/// A path relative to the workspace, without `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RelativePath {
    /// The names in order; none for the workspace itself.
    pub(super) names: Vec<String>,
    /// True if it ends with a slash.
    pub(super) is_directory: bool,
}

/// Returns true if the path of a URL names a file or the workspace.
pub(in crate::http) fn is_file(path: &str) -> bool {
    path.strip_prefix(PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl RelativePath {
    /// Reads the path of a URL. Names are percent-decoded one by one, so that
    /// an escaped slash separates nothing.
    pub(super) fn parse(path: &str) -> Result<Self, FileError> {
        let rest = path.strip_prefix(PREFIX).unwrap_or_default();
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let mut names = Vec::new();
        let mut parts = rest.split('/').peekable();
        let mut is_directory = rest.is_empty();
        while let Some(part) = parts.next() {
            if part.is_empty() && parts.peek().is_none() {
                is_directory = true;
                break;
            }
            names.push(name(part)?);
        }
        Ok(Self { names, is_directory })
    }

    /// Returns it as a path of the system.
    pub(super) fn to_path(&self) -> PathBuf {
        self.names.iter().collect()
    }

    /// Returns it with slashes, as clients see it.
    pub(super) fn shown(&self) -> String {
        self.names.join("/")
    }
}

fn name(part: &str) -> Result<String, FileError> {
    let bad = |reason| Err(FileError::Name(reason));
    let mut rest = part.as_bytes();
    while let Some(at) = memchr::memchr(b'%', rest) {
        match rest.get(at + 1..at + 3) {
            Some(digits) if digits.iter().all(u8::is_ascii_hexdigit) => rest = &rest[at + 3..],
            _ => return bad("a percent sign begins no valid escape"),
        }
    }
    let Ok(name) = percent_decode_str(part).decode_utf8() else {
        return bad("a name is not UTF-8");
    };
    match &*name {
        "" => bad("a name is empty"),
        "." | ".." => bad("`.` and `..` are not followed"),
        name if name.contains('/') => bad("a name holds a slash"),
        name if name.contains('\0') => bad("a name holds a NUL"),
        name if name.len() > 255 => bad("a name is longer than 255 bytes"),
        name => Ok(name.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_read_name_by_name() {
        for (path, names, is_directory) in [
            ("/files", &[][..], true),
            ("/files/", &[], true),
            ("/files/a", &["a"], false),
            ("/files/a/b%20c/", &["a", "b c"], true),
            ("/files/%C3%A4.txt", &["ä.txt"], false),
            ("/files/...", &["..."], false),
            ("/files/a%0Ab", &["a\nb"], false),
            ("/files/a%5Cb", &["a\\b"], false),
        ] {
            assert!(is_file(path));
            let parsed = RelativePath::parse(path).unwrap();
            assert_eq!(parsed.names, names);
            assert_eq!(parsed.is_directory, is_directory);
        }
        assert!(!is_file("/filesystem") && !is_file("/file"));
    }

    #[test]
    fn names_that_could_leave_the_workspace_are_refused() {
        for path in [
            "..",
            "a/..",
            "a/../b",
            ".",
            "./a",
            "%2e%2e",
            ".%2E/a",
            "a%2Fb",
            "%2f",
            "a%2f..%2fb",
            "%00",
            "a%00b",
            "%ff",
            "%c3%28",
            "%",
            "%2",
            "%zz",
            "//a",
            "a//b",
            "a///",
        ] {
            let parsed = RelativePath::parse(&format!("/files/{path}"));
            assert!(matches!(parsed, Err(FileError::Name(_))), "{path}: {parsed:?}");
        }
        assert!(RelativePath::parse(&format!("/files/{}", "a".repeat(256))).is_err());
    }
}
