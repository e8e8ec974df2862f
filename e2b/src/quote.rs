//! Quoting for a shell. Pure.

/// Quotes a text so that a POSIX shell reads it as one word, like Python's
/// `shlex.quote`, which E2B's SDKs imitate.
#[must_use]
pub fn quote(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"@%+=:,./-_".contains(&byte);
    match !text.is_empty() && text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\"'\"'")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_pythons_shlex_does() {
        assert_eq!(quote("/tmp/x"), "/tmp/x");
        assert_eq!(quote(""), "''");
        assert_eq!(quote("/tmp/x y"), "'/tmp/x y'");
        assert_eq!(quote("it's"), "'it'\"'\"'s'");
        assert_eq!(quote("$(rm -r /)"), "'$(rm -r /)'");
    }
}
