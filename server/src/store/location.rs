//! The place of a store, as the operator names it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A directory, or a part of a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// An absolute path.
    Directory(PathBuf),
    /// `s3://bucket/prefix`.
    Bucket {
        /// Its name.
        bucket: String,
        /// What every key begins with: empty, or without a slash at either end.
        prefix: String,
    },
}

/// No place of a store.
#[derive(Debug)]
pub struct NoLocation;

impl FromStr for Location {
    type Err = NoLocation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(rest) = text.strip_prefix("s3://") {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let is_name = |name: &str| {
                name.len() >= 3
                    && name
                        .bytes()
                        .all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
            };
            let prefix = prefix.trim_matches('/');
            let is_plain = prefix.split('/').all(|part| {
                part.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#%\\".contains(&byte))
                    && !matches!(part, "." | "..")
            });
            if !is_name(bucket) || !is_plain || prefix.contains("//") {
                return Err(NoLocation);
            }
            return Ok(Self::Bucket { bucket: bucket.to_owned(), prefix: prefix.to_owned() });
        }
        // A misspelled address is no directory.
        if text.is_empty() || text.contains("://") {
            return Err(NoLocation);
        }
        std::path::absolute(Path::new(text)).map(Self::Directory).map_err(|_| NoLocation)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(f, "{}", path.display()),
            Self::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_or_a_bucket_is_a_place() {
        for (given, shown) in [
            ("/var/lib/x", "/var/lib/x"),
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ] {
            assert_eq!(given.parse::<Location>().unwrap().to_string(), shown);
        }
        assert!(matches!("x".parse(), Ok(Location::Directory(path)) if path.is_absolute()));
        for given in [
            "",
            "s3://",
            "s3://a",
            "s3://b?x=1",
            "s3://bucket/../x",
            "gs://bucket",
            "s3://bucket/a//b",
        ] {
            assert!(given.parse::<Location>().is_err(), "{given}");
        }
    }
}
