//! Files of the test page, embedded in the binary.

/// A file of the page.
#[derive(Debug)]
pub struct File {
    /// Path in the URL.
    pub path: &'static str,
    /// Media type.
    pub content_type: &'static str,
    /// Content.
    pub content: &'static str,
}

macro_rules! files {
    ($($path:literal, $content_type:ident, $file:literal;)+) => {
        &[$(File {
            path: $path,
            content_type: $content_type,
            content: include_str!(concat!("../../../static/", $file)),
        },)+]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";

/// All files. They have no directories, so that the page also works below a
/// path of a reverse proxy.
const FILES: &[File] = files! {
    "/", HTML, "index.html";
    "/page.css", CSS, "page.css";
    "/page.js", JS, "page.js";
    "/access.js", JS, "access.js";
    "/blocks.js", JS, "blocks.js";
    "/codex.js", JS, "codex.js";
    "/composer.js", JS, "composer.js";
    "/config.js", JS, "config.js";
    "/connection.js", JS, "connection.js";
    "/controls.js", JS, "controls.js";
    "/conversation.js", JS, "conversation.js";
    "/dom.js", JS, "dom.js";
    "/frames.js", JS, "frames.js";
    "/inbox.js", JS, "inbox.js";
    "/ledger.js", JS, "ledger.js";
    "/link.js", JS, "link.js";
    "/markdown.js", JS, "markdown.js";
    "/panels.js", JS, "panels.js";
    "/permissions.js", JS, "permissions.js";
    "/prompt.js", JS, "prompt.js";
    "/questions.js", JS, "questions.js";
    "/status.js", JS, "status.js";
    "/stream.js", JS, "stream.js";
    "/text.js", JS, "text.js";
    "/transcript.js", JS, "transcript.js";
};

/// Content security policy of the page: its own files and its own server,
/// without inline scripts, foreign origins or frames.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

/// Returns the file at `path`.
#[must_use]
pub fn file(path: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.path == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn every_file_of_the_page_is_served() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../static");
        let there: BTreeSet<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| match entry.unwrap().file_name().to_str().unwrap() {
                "index.html" => "/".to_owned(),
                name => format!("/{name}"),
            })
            .collect();
        let served: BTreeSet<String> = FILES.iter().map(|file| file.path.to_owned()).collect();
        assert_eq!(there, served);
    }

    #[test]
    fn nothing_on_the_page_needs_what_the_policy_forbids() {
        let html = file("/").unwrap().content;
        assert!(
            !html.contains("<style") && !html.contains(" style=") && !html.contains(" onclick=")
        );
        assert_eq!(
            html.matches("<script").count(),
            html.matches("<script type=\"module\" src=").count()
        );
        for file in FILES.iter().filter(|file| file.content_type == JS) {
            assert!(!file.content.contains("innerHTML"), "{}", file.path);
        }
    }
}
