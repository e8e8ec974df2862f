//! Whom to tell: an address or a command.

use std::ffi::OsString;
use std::str::FromStr;

use hyper::Uri;

/// Whom to tell that the agent waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A webhook.
    Url(Uri),
    /// A program with its arguments, which runs without a shell.
    Command(Vec<OsString>),
}

impl FromStr for Target {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text.contains("://") && !text.starts_with(['/', '.']) {
            let url: Uri = text.parse().map_err(|_| ())?;
            let is_known = url.scheme_str() == Some("http")
                || cfg!(feature = "tls") && url.scheme_str() == Some("https");
            let authority = url.authority().ok_or(())?;
            // A credential in an address would stand in logs.
            let is_plain = !authority.as_str().contains('@') && !authority.host().is_empty();
            return if is_known && is_plain { Ok(Self::Url(url)) } else { Err(()) };
        }
        let words: Vec<OsString> = text.split_whitespace().map(OsString::from).collect();
        if words.is_empty() { Err(()) } else { Ok(Self::Command(words)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_an_address_or_a_command() {
        let url = |text: &str| matches!(text.parse(), Ok(Target::Url(_)));
        assert!(url("http://127.0.0.1:9/hook") && url("http://example.org"));
        assert_eq!(url("https://example.org/x"), cfg!(feature = "tls"));
        let words = ["/bin/tell", "--who", "me"].map(OsString::from).to_vec();
        assert_eq!("/bin/tell  --who me".parse(), Ok(Target::Command(words)));
        for bad in ["", "  ", "ftp://host/", "http://", "http://user:pass@host/"] {
            assert_eq!(bad.parse::<Target>(), Err(()), "{bad}");
        }
    }
}
