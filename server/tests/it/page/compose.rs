//! The message box.

use super::Page;
use crate::support::browser_fixture::{ENTER, SELECT_ALL};

const TAB: &str = "\u{E004}";
const UP: &str = "\u{E013}";
const DOWN: &str = "\u{E015}";

const ECHO: &str = r#"
REPLIES["initialize"] = dict(commands=[dict(name="compact", description="Make room", argumentHint=""), dict(name="cost", description="What was spent", argumentHint="")], models=[])
REPLIES["file_suggestions"] = dict(suggestions=[dict(path="src/main.rs"), dict(path="src/lib.rs")])
while (said := message()) is not None:
    note("said", json.dumps(said)); begin(); speak("Heard."); end()
"#;

/// A picture of one dot.
const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0, 0, 0,
    1, 0, 0, 0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89, 0, 0, 0, 0x0d, 0x49, 0x44, 0x41, 0x54,
    0x78, 0x9c, 0x63, 0xf8, 0xcf, 0xc0, 0xf0, 0x1f, 0, 5, 0, 1, 0xff, 0x56, 0xc7, 0x2f, 0x0d, 0, 0,
    0, 0, 0x49, 0x45, 0x4e, 0x44, 0xae, 0x42, 0x60, 0x82,
];

const CTRL_V: &str = "\u{E009}v\u{E000}";

#[tokio::test]
async fn commands_files_and_former_messages_are_offered() {
    let page = Page::with(ECHO).await;
    page.say("first").await;
    page.turn_ended(1).await;
    page.browser.type_into("#message", "/co").await;
    page.shows("#completion [aria-selected=true]", "/compact").await;
    page.shows("#completion", "What was spent").await;
    page.browser.type_into("#message", &format!("{DOWN}{ENTER}")).await;
    page.until("document.querySelector('#message').value === '/cost '").await;
    page.browser.type_into("#message", ENTER).await;
    page.turn_ended(2).await;

    page.browser.type_into("#message", "look at @src").await;
    page.shows("#completion", "@src/lib.rs").await;
    page.browser.type_into("#message", TAB).await;
    page.until("document.querySelector('#message').value === 'look at @src/main.rs '").await;
    assert!(page.agent.noted("requests").iter().any(|line| line.contains(r#""query": "src""#)));

    page.browser.type_into("#message", &format!("{SELECT_ALL}\u{E003}")).await;
    page.browser.type_into("#message", &format!("{UP}{UP}")).await;
    page.until("document.querySelector('#message').value === 'first'").await;
    page.end().await;
}

#[tokio::test]
async fn pictures_go_along_and_other_files_are_refused_with_the_limits() {
    let page = Page::with(ECHO).await;
    let picture = page._env.file("dot.png");
    std::fs::write(&picture, PNG).expect("a file of the test");
    let text = page._env.file("notes.txt");
    std::fs::write(&text, "no picture").expect("a file of the test");
    page.browser.type_into("#attach-file", picture.to_str().expect("UTF-8")).await;
    page.shows("[data-testid=attachment]", "dot.png").await;
    page.browser.type_into("#attach-file", text.to_str().expect("UTF-8")).await;
    page.shows("#composer-hint[data-problem=true]", "only PNG, JPEG, GIF, WebP and PDF").await;

    page.say("What is it?").await;
    page.turn_ended(1).await;
    page.until("document.querySelector('.user img')").await;
    let said = &page.agent.noted("said")[0];
    assert!(said.contains("image/png") && said.contains("What is it?"), "{said}");
    assert!(page.browser.evaluate("document.querySelector('#attachments').hidden").await == true);
    page.end().await;
}

#[tokio::test]
async fn pictures_are_dropped_and_pasted() {
    let page = Page::with(ECHO).await;
    let browser = &page.browser;
    let (picture, paper) = (page._env.file("dot.png"), page._env.file("paper.pdf"));
    std::fs::write(&picture, PNG).expect("a file of the test");
    std::fs::write(&paper, "%PDF-1.4").expect("a file of the test");
    // Without a conversation `#entries` has no height.
    browser.drop_files(".chat", &[&picture, &paper]).await;
    page.shows("[data-testid=attachment]", "dot.png").await;
    page.shows("[data-testid=attachment]", "paper.pdf").await;
    assert_eq!(browser.evaluate("document.querySelector('.chat').dataset.drop ?? ''").await, "");
    // A directory cannot be sent.
    browser.drop_files("#message", &[&page._env.workspace()]).await;
    page.until("document.querySelector('#composer-hint').dataset.problem === 'true'").await;

    browser.allow_clipboard().await;
    let copy = |parts: &str| {
        format!(
            "window.copied = undefined; navigator.clipboard.write([new ClipboardItem({parts})])\
             .then(() => {{ window.copied = true; }}, error => {{ window.copied = String(error); }})"
        )
    };
    let picture = "new Promise(done => document.createElement('canvas').toBlob(done))";
    browser.run_script(&copy(&format!("{{ 'image/png': {picture} }}"))).await;
    page.until("window.copied !== undefined").await;
    assert_eq!(browser.evaluate("window.copied").await, true);
    browser.type_into("#message", CTRL_V).await;
    page.until("document.querySelectorAll('[data-testid=attachment]').length === 3").await;

    // A table out of a document is text, though a picture of it comes along.
    let blob = |text: &str, kind: &str| format!("new Blob(['{text}'], {{ type: '{kind}' }})");
    let table = format!(
        "{{ 'text/plain': {}, 'text/html': {}, 'image/png': {picture} }}",
        blob("a table", "text/plain"),
        blob("<b>a table</b>", "text/html")
    );
    browser.run_script(&copy(&table)).await;
    page.until("window.copied !== undefined").await;
    assert_eq!(browser.evaluate("window.copied").await, true);
    browser.type_into("#message", CTRL_V).await;
    page.until("document.querySelector('#message').value === 'a table'").await;
    assert_eq!(page.count("[data-testid=attachment]").await, 3);

    browser.type_into("#message", ENTER).await;
    page.turn_ended(1).await;
    let said = &page.agent.noted("said")[0];
    let count = said.matches("\"type\": \"image\"").count();
    assert_eq!((count, said.matches("application/pdf").count()), (2, 1), "{said:.300}");
    page.end().await;
}
