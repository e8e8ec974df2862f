//! Patterns of a `.dockerignore`, by Docker's rules. Pure.
//!
//! A line is a pattern relative to the top of the context. A pattern that
//! matches a directory matches everything below it. The last matching line
//! decides, and a line with `!` includes a path again. No crate does this: the
//! crates for `.gitignore` have other rules.
//! ones for `.gitignore` have other rules.

pub use crate::glob::BadPattern;
use crate::glob::Glob;

/// Patterns of a `.dockerignore`.
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
    /// Parses the text of a `.dockerignore`.
    ///
    /// # Errors
    /// Returns an error for a line that Docker refuses too.
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

    /// Returns whether a path is excluded. It is relative to the top of the
    /// context and uses slashes.
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

    /// Returns whether a later line may include something below an excluded
    /// directory again, so that the directory has to be read.
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

/// Cleans a pattern: removes leading and trailing slashes, `.` and inner `..`.
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
    fn a_pattern_that_excludes_a_directory_excludes_everything_below_it() {
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
    fn patterns_that_docker_refuses_are_refused() {
        assert_eq!(DockerIgnore::parse("!").unwrap_err(), BadPattern::Exception("!".into()));
        assert!(DockerIgnore::parse("[").is_err());
    }
}
