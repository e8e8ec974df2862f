//! What a `.dockerignore` keeps out, by Docker's rules. Pure.
//!
//! A line is a pattern relative to the top of the context. A pattern that
//! fits a directory fits everything below it. The last line that fits
//! decides, and one with `!` lets a path in again. No crate does this: the
//! ones for `.gitignore` have other rules.

pub use crate::glob::BadPattern;
use crate::glob::Glob;

/// The patterns of a `.dockerignore`.
#[derive(Clone, Debug, Default)]
pub struct DockerIgnore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
struct Rule {
    exception: bool,
    glob: Glob,
}

impl DockerIgnore {
    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    /// A line that Docker refuses too.
    pub fn parse(text: &str) -> Result<Self, BadPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let mut rules = Vec::new();
        for line in lines.map(str::trim).filter(|line| !line.is_empty()) {
            let (exception, pattern) = match line.strip_prefix('!') {
                Some(pattern) => (true, pattern.trim()),
                None => (false, line),
            };
            if pattern.is_empty() {
                return Err(BadPattern::Exception(line.to_owned()));
            }
            let glob = Glob::parse(&clean(pattern))?;
            rules.push(Rule { exception, glob });
        }
        Ok(Self { rules })
    }

    /// Whether a path, relative to the top of the context and with slashes,
    /// is kept out.
    #[must_use]
    pub fn excludes(&self, path: &str) -> bool {
        let mut excluded = false;
        for rule in &self.rules {
            if rule.exception == excluded && rule.fits(path) {
                excluded = !rule.exception;
            }
        }
        excluded
    }

    /// Whether something below an excluded directory may be let in again, so
    /// that it has to be looked into.
    pub(crate) fn has_exceptions(&self) -> bool {
        self.rules.iter().any(|rule| rule.exception)
    }
}

impl Rule {
    fn fits(&self, path: &str) -> bool {
        let parents = path.match_indices('/').map(|(end, _)| &path[..end]);
        self.glob.matches(path) || parents.into_iter().any(|parent| self.glob.matches(parent))
    }
}

/// A pattern without leading and trailing slashes, `.` and inner `..`.
fn clean(pattern: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in pattern.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    match parts.is_empty() {
        true => ".".to_owned(),
        false => parts.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(text: &str, path: &str) -> bool {
        DockerIgnore::parse(text).unwrap().excludes(path)
    }

    #[test]
    fn a_bare_name_is_meant_at_the_top_only() {
        assert!(excluded(".env", ".env"));
        assert!(!excluded(".env", "a/.env"));
        assert!(excluded("**/.env", "a/.env"));
    }

    #[test]
    fn what_excludes_a_directory_excludes_what_is_below() {
        assert!(excluded("**/node_modules", "app/node_modules/dep/index.js"));
        assert!(excluded("target", "target/debug/x"));
        assert!(!excluded("target", "targets"));
    }

    #[test]
    fn the_last_line_that_fits_decides() {
        let text = "*\n!src\nsrc/secret\n!src/secret/public.txt";
        assert!(excluded(text, "a"));
        assert!(!excluded(text, "src/a"));
        assert!(excluded(text, "src/secret/a"));
        assert!(!excluded(text, "src/secret/public.txt"));
    }

    #[test]
    fn lines_are_cleaned_as_docker_cleans_them() {
        for line in ["/foo", "./foo", "foo/", "  foo  ", "a/../foo", "\u{feff}foo"] {
            assert!(excluded(line, "foo"), "{line:?}");
        }
        assert!(!excluded("# foo\n\n", "foo"));
        assert!(excluded(" #foo", "#foo"), "only a # at the start of the line is a comment");
        assert!(!excluded("", "foo"));
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        assert_eq!(DockerIgnore::parse("!").unwrap_err(), BadPattern::Exception("!".into()));
        assert!(DockerIgnore::parse("[").is_err());
    }
}
