//! Text of the agent, as Markdown.

use super::Page;
use serde_json::json;

const TEXT: &str = r"# Title

*italic*, **bold**, ~~gone~~, `code`, [named](https://example.com/x) and https://example.org.
[https://good.example](https://evil.example/)

- one
  - nested
- [x] done
- [ ] open

| a | b |
|---|--:|
| 1 | 2 |

> quoted

---

```js
const answer = 42;
```

1. אחת
2. שתיים
";

/// Streamed in pieces, and whole after a reload: both are drawn alike.
#[tokio::test]
async fn markdown_is_drawn_alike_streamed_and_whole() {
    let page = Page::with(&format!(
        r#"
TEXT = {text}
message(); begin()
def event(**fields): say(type="stream_event", parent_tool_use_id=None, event=fields)
event(type="message_start", message={{}})
event(type="content_block_start", index=0, content_block=dict(type="text", text=""))
for at in range(0, len(TEXT), 5):
    event(type="content_block_delta", index=0, delta=dict(type="text_delta", text=TEXT[at:at + 5]))
    if at == 50: gate("rest")
speak(TEXT); end(); message()
"#,
        text = json!(TEXT)
    ))
    .await;
    page.say("Write").await;
    page.until("document.querySelector('.streaming em')").await;
    page.agent.open("rest");
    page.turn_ended(1).await;
    page.until("document.querySelector('.hl-keyword')").await;
    let drawn = "document.querySelector('.prose').outerHTML";
    let streamed = page.browser.evaluate(drawn).await;
    for css in [
        "em",
        "strong",
        "del",
        "ul ul",
        "table th",
        "td.md-right",
        "blockquote",
        "hr",
        "[role=heading]",
        "ol[dir=auto] li",
        ".md-box[aria-label=Done]",
        "a[href='https://example.com/x'][target=_blank][rel~=noopener]",
        "a[href='https://example.org/']",
    ] {
        assert_ne!(page.count(&format!(".prose {css}")).await, 0, "{css}");
    }
    page.shows(".prose", "https://good.example (evil.example)").await;
    // The first letter of a list from right to left is inside of the column.
    let inside = "(list => getComputedStyle(list).direction === 'rtl' && \
                  list.firstChild.getBoundingClientRect().right <= list.getBoundingClientRect().right)\
                 (document.querySelector('.prose ol'))";
    assert_eq!(page.browser.evaluate(inside).await, true);
    assert_ne!(page.count(".copy-answer").await, 0);
    assert_ne!(page.count(".md-code button").await, 0);

    page.open().await;
    page.turn_ended(1).await;
    page.until("document.querySelector('.hl-keyword')").await;
    assert_eq!(page.browser.evaluate(drawn).await, streamed);
    page.end().await;
}

#[tokio::test]
async fn words_of_a_wide_table_stay_whole_on_a_phone() {
    let page = Page::with(
        r#"
message(); begin()
head = ["Name", "Identifier", "Description", "Maintainer", "Dependencies", "Repository"]
speak("".join("| " + " | ".join(row) + " |\n" for row in [head, ["---"] * 6, ["one two three"] * 6])); end(); message()
"#,
    )
    .await;
    page.say("List").await;
    page.turn_ended(1).await;
    page.browser.screen(375, 740, "light").await;
    page.browser.assert_fits("a wide table").await;
    let broken = "[...document.querySelectorAll('.prose th')].filter(cell => {\
        const range = document.createRange(); range.selectNodeContents(cell);\
        return new Set([...range.getClientRects()].map(each => each.top)).size > 1;\
    }).map(cell => cell.textContent)";
    assert_eq!(page.browser.evaluate(broken).await, json!([]));
    let scrolls =
        "(table => table.scrollWidth > table.clientWidth)(document.querySelector('.md-table'))";
    assert_eq!(page.browser.evaluate(scrolls).await, true);
    page.end().await;
}

/// What was made to act on the page, or to keep it busy, is text.
#[tokio::test]
async fn hostile_markdown_is_text_and_keeps_nobody_waiting() {
    let page = Page::with(
        r##"
message(); begin()
for link in ("javascript:hurt()", "data:text/html,x", "vbscript:x", "JaVaScRiPt:x", "//evil.example", "file:///etc/passwd"):
    speak("[words](%s) ![picture](%s) <%s> <a href='%s' onclick='hurt()'>x</a>" % (link, link, link, link))
speak("<svg onload=hurt()> <img src=x onerror=hurt()> <iframe srcdoc='x'> <style>*{display:none}</style>")
speak("![tracker](https://evil.example/pixel.png)")
speak("| a |\n|-|\n| <script>hurt()</script> |\n\n```html\n<script>hurt()</script>\n```\n\n[x]: javascript:hurt()\n\n[x]")
for many in ("> " * 20000, "- " * 20000, "[" * 40000, "**a " * 10000, "`a" * 20000, "- a\n" * 10000, "|a" * 9000 + "\n" + "|-" * 9000):
    speak(many)
end(); message()
"##,
    )
    .await;
    page.say("Hurt me").await;
    page.turn_ended(1).await;
    let made = "document.querySelectorAll('img, svg:not(header svg, form svg), iframe, body script, body style').length";
    assert_eq!(page.browser.evaluate(made).await, 0);
    let links = "[...document.links].map(link => link.protocol).filter(name => !['http:', 'https:'].includes(name))";
    assert_eq!(page.browser.evaluate(links).await, json!([]));
    page.browser.type_into("#message", "alive").await;
    page.until("document.querySelector('#message').value === 'alive'").await;
    // No HTML parser takes a text here, whoever asks.
    let refused = "(() => { try { document.createElement('p').innerHTML = '<b>x</b>'; return 'taken'; } catch { return 'refused'; } })()";
    assert_eq!(page.browser.evaluate(refused).await, "refused");
    page.browser.complaints().await;
    page.end().await;
}
