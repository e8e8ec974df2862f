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
            content: include_str!(concat!("../../static/", $file)),
        },)+]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

/// All files. Their addresses are relative to the page, so that it also works
/// below a path of a reverse proxy. `vendor/` holds libraries as published, with
/// their licences.
const FILES: &[File] = files! {
    "/", HTML, "index.html";
    "/page.css", CSS, "page.css";
    "/page.js", JS, "page.js";
    "/access.js", JS, "access.js";
    "/activity.js", JS, "activity.js";
    "/attachments.js", JS, "attachments.js";
    "/blocks.js", JS, "blocks.js";
    "/code.js", JS, "code.js";
    "/codex.js", JS, "codex.js";
    "/completion.js", JS, "completion.js";
    "/composer.js", JS, "composer.js";
    "/config.js", JS, "config.js";
    "/connection.js", JS, "connection.js";
    "/connection_view.js", JS, "connection_view.js";
    "/controls.js", JS, "controls.js";
    "/conversation.js", JS, "conversation.js";
    "/conversation_list.js", JS, "conversation_list.js";
    "/conversation_start.js", JS, "conversation_start.js";
    "/diff.js", JS, "diff.js";
    "/dom.js", JS, "dom.js";
    "/elicitation.js", JS, "elicitation.js";
    "/frames.js", JS, "frames.js";
    "/history.js", JS, "history.js";
    "/inbox.js", JS, "inbox.js";
    "/ledger.js", JS, "ledger.js";
    "/markdown.js", JS, "markdown.js";
    "/markdown_nodes.js", JS, "markdown_nodes.js";
    "/markdown_tokens.js", JS, "markdown_tokens.js";
    "/merge_patch.js", JS, "merge_patch.js";
    "/outbox.js", JS, "outbox.js";
    "/panels.js", JS, "panels.js";
    "/permissions.js", JS, "permissions.js";
    "/prompt.js", JS, "prompt.js";
    "/questions.js", JS, "questions.js";
    "/recording.js", JS, "recording.js";
    "/setup.js", JS, "setup.js";
    "/status.js", JS, "status.js";
    "/stream.js", JS, "stream.js";
    "/tasks.js", JS, "tasks.js";
    "/text.js", JS, "text.js";
    "/todos.js", JS, "todos.js";
    "/tools.js", JS, "tools.js";
    "/transcript.js", JS, "transcript.js";
    "/vendor/highlight.js", JS, "vendor/highlight.js";
    "/vendor/highlight.LICENSE.txt", TEXT, "vendor/highlight.LICENSE.txt";
    "/vendor/marked.js", JS, "vendor/marked.js";
    "/vendor/marked.LICENSE.txt", TEXT, "vendor/marked.LICENSE.txt";
};

/// Content security policy of the page: its own files and its own server,
/// without inline scripts, foreign origins or frames. Trusted types keep every
/// text from the HTML parser, also inside the libraries.
pub const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
     connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

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
        let files = |folder: &Path| {
            let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
            let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
            files.map(|file| file.file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let own = files(&folder).into_iter().map(|name| match name.as_str() {
            "index.html" => "/".to_owned(),
            name => format!("/{name}"),
        });
        let libraries = files(&folder.join("vendor"));
        let libraries = libraries.into_iter().map(|name| format!("/vendor/{name}"));
        let there: BTreeSet<String> = own.chain(libraries).collect();
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
        let own = FILES.iter().filter(|file| !file.path.starts_with("/vendor/"));
        for file in own.filter(|file| file.content_type == JS) {
            assert!(!file.content.contains("innerHTML"), "{}", file.path);
        }
    }
}
