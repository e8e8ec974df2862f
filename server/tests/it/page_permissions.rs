//! The page asks its user what the real CLI asks: a prompt for each question,
//! and every way to answer it.

use crate::support::browser_fixture::{BrowserFixture, ENTER, SELECT_ALL};
use claude_relay_testing::reply::{Message, Reply};
use serde_json::{Value, json};

async fn fixture() -> BrowserFixture {
    BrowserFixture::launched(|launch| launch.mode("ask")).await
}

fn bash(command: &str) -> Reply {
    Reply::tool("Bash", json!({ "command": command, "description": "Make a file" }))
}

/// The part of the prompt with this number, from 1.
fn part(number: usize, testid: &str) -> String {
    format!("section.permission:nth-of-type({number}) [data-testid={testid}]")
}

/// State of the page while it asks.
impl BrowserFixture {
    async fn asks(&self, count: usize) {
        let prompts = format!("document.querySelectorAll('.permission').length === {count}");
        self.browser.until(&prompts).await;
    }

    async fn text_of(&self, css: &str) -> String {
        let text = format!("document.querySelector({}).innerText", json!(css));
        let text = self.browser.evaluate(&text).await;
        text.as_str().expect("an element with text").to_owned()
    }

    async fn answers(&self, env: usize, testid: &str) {
        self.browser.click(&part(env, testid)).await;
    }

    fn made(&self, file: &str) -> bool {
        self.env.workspace().join(file).exists()
    }

    /// Number of frames of this type that the page has received or sent.
    async fn frames(&self, kind: &str) -> usize {
        self.browser.click("#open-frames").await;
        let rows = format!("document.querySelectorAll('.frame-row[data-type={kind}]').length");
        self.browser.type_into("#frames-filter", kind).await;
        self.browser
            .until("document.querySelector('#frames-summary').textContent.includes(' of ')")
            .await;
        let count = self.browser.evaluate(&rows).await;
        self.browser.type_into("#frames-filter", &format!("{SELECT_ALL}\u{E017}")).await;
        self.browser.click("#close-frames").await;
        usize::try_from(count.as_u64().expect("a number")).expect("it fits")
    }
}

#[tokio::test]
async fn a_tool_is_allowed_edited_and_denied() {
    let fixture = fixture().await;
    fixture.api.script([bash("touch made"), Reply::text("Done.")]);
    fixture.say("Touch it").await;
    fixture.asks(1).await;
    assert_eq!(fixture.text_of(".permission h2").await, "The agent asks to use Bash");
    assert_eq!(fixture.text_of(&part(1, "permission-input")).await, "touch made");
    assert_eq!(
        fixture.browser.evaluate("document.title").await,
        "(1) Permission needed – claude-relay"
    );
    fixture
        .browser
        .until("document.querySelector('#activity').innerText.includes('Waiting for your answer')")
        .await;
    // It does not take the keys of somebody who is writing.
    assert_eq!(fixture.browser.evaluate("document.activeElement.id").await, "message");
    assert!(!fixture.made("made"), "nothing happens before the answer");
    fixture.answers(1, "permission-allow").await;
    fixture.turn_ended(1, "success").await;
    fixture.asks(0).await;
    assert!(fixture.made("made"));
    fixture.shows("notice", "Allowed once: Bash touch made").await;
    assert_eq!(fixture.browser.evaluate("document.title").await, "claude-relay");

    fixture.api.script([bash("touch other"), Reply::text("Done.")]);
    fixture.say("Touch another").await;
    fixture.asks(1).await;
    fixture.answers(1, "permission-edit").await;
    let editor = part(1, "permission-editor");
    fixture.browser.type_into(&editor, &format!("{SELECT_ALL}{{\"command\":")).await;
    fixture.answers(1, "permission-allow").await;
    fixture.browser.until("document.querySelector('.permission .field-error').innerText.includes('no valid JSON')").await;
    fixture.browser.type_into(&editor, " \"touch edited\"}").await;
    fixture.answers(1, "permission-allow").await;
    fixture.turn_ended(2, "success").await;
    assert!(fixture.made("edited") && !fixture.made("other"));
    fixture.shows("notice", "with the input edited").await;

    fixture.api.script([bash("touch third"), Reply::text("Then not.")]);
    fixture.say("And a third").await;
    fixture.asks(1).await;
    fixture.browser.type_into(&part(1, "permission-reason"), "Not before \"tea\".").await;
    fixture.answers(1, "permission-deny").await;
    fixture.turn_ended(3, "success").await;
    let told = fixture.api.turns().last().expect("a request").body.to_string();
    assert!(
        told.contains(r#"Not before \\\"tea\\\"."#) || told.contains(r#"Not before \"tea\"."#),
        "{told}"
    );

    fixture.api.script([bash("touch fourth"), Reply::text("Here again.")]);
    fixture.say("And a fourth").await;
    fixture.asks(1).await;
    fixture.answers(1, "permission-stop").await;
    fixture.answers(1, "permission-deny").await;
    fixture.turn_ended(4, "stopped").await;
    fixture.say("Still there?").await;
    fixture.shows("agent", "Here again.").await;
    assert!(!fixture.made("third") && !fixture.made("fourth"));
    fixture.end().await;
}

#[tokio::test]
async fn allow_always_adds_the_chosen_suggestions() {
    let fixture = fixture().await;
    fixture.api.script([
        bash("touch made"),
        Reply::text("One."),
        bash("touch made"),
        Reply::text("Two."),
    ]);
    fixture.say("Touch it").await;
    fixture.asks(1).await;
    let offered = fixture.text_of(".permission .choices").await;
    assert!(offered.contains("touch"), "{offered}");
    // Nothing chosen is nothing to keep.
    let boxes = "[...document.querySelectorAll('[data-testid=permission-suggestion]')]";
    assert_eq!(
        fixture.browser.evaluate(&format!("{boxes}.findIndex(box => box.checked)")).await,
        0
    );
    let disabled = "document.querySelector('[data-testid=permission-always]').disabled";
    assert_eq!(fixture.browser.evaluate(disabled).await, false);
    fixture.answers(1, "permission-suggestion").await;
    assert_eq!(fixture.browser.evaluate(disabled).await, true);
    fixture.answers(1, "permission-suggestion").await;
    fixture.answers(1, "permission-always").await;
    fixture.turn_ended(1, "success").await;

    std::fs::remove_file(fixture.env.workspace().join("made")).expect("the tool's file");
    fixture.say("Touch it again").await;
    fixture.turn_ended(2, "success").await;
    assert!(fixture.made("made"));
    assert_eq!(fixture.frames("permission_request").await, 1);
    fixture.end().await;
}

/// The agent's model and mode are switched while it runs; no mode is offered
/// that the server does not allow.
#[tokio::test]
async fn model_and_mode_are_switched() {
    let fixture = fixture().await;
    fixture.api.script([Reply::text("One.")]);
    fixture.say("First").await;
    fixture.turn_ended(1, "success").await;

    fixture.browser.click("#model").await;
    let offered = "[...document.querySelectorAll('#models option')].map(option => option.value)";
    fixture.browser.until(&format!("{offered}.some(model => model.includes('haiku'))")).await;
    let model = format!("{SELECT_ALL}claude-test-model-7{ENTER}");
    fixture.browser.type_into("#model", &model).await;
    fixture.shows("notice", "Model set to claude-test-model-7").await;
    for select in ["permission-mode", "config-permission-mode"] {
        let modes = format!(
            "[...document.querySelectorAll('#{select} option:enabled')].map(option => option.value)"
        );
        let modes = fixture.browser.evaluate(&modes).await;
        assert_eq!(modes, json!(["", "default", "acceptEdits", "plan", "dontAsk"]), "{select}");
    }
    fixture.browser.click("#permission-mode option[value=acceptEdits]").await;
    fixture.shows("notice", "Permission mode set to acceptEdits").await;

    let file = fixture.env.workspace().join("made");
    let write = json!({ "file_path": file, "content": "x" });
    fixture.api.script([Reply::tool("Write", write), Reply::text("Written.")]);
    fixture.say("Write it").await;
    fixture.turn_ended(2, "success").await;
    assert!(fixture.made("made"), "nobody was asked");
    assert_eq!(fixture.api.turn(2).await.body["model"], "claude-test-model-7");
    fixture.end().await;
}

#[tokio::test]
async fn two_at_once_are_answered_each() {
    let fixture = fixture().await;
    let read = |name: &str| {
        let file = fixture.env.file(name);
        std::fs::write(&file, format!("text of {name}")).expect("a file of the test");
        json!({ "file_path": file })
    };
    let both = Message::default().tool("Read", read("first")).tool("Read", read("second"));
    fixture.api.script([both.into(), Reply::text("Read.")]);
    fixture.say("Read both").await;
    fixture.asks(2).await;
    let count = fixture.text_of("#permissions-count").await;
    assert_eq!(count, "2 requests are waiting for an answer");
    let second = fixture.text_of(&part(2, "permission-input")).await;
    let (yes, no) =
        if second.contains("second") { ("first", "second") } else { ("second", "first") };
    fixture
        .browser
        .until(
            "[...document.querySelectorAll('[data-role=tool] .fold-status')]\
             .every(status => status.textContent === 'waiting for you')",
        )
        .await;
    screens(&fixture, "permissions-two").await;

    fixture.browser.type_into(&part(2, "permission-reason"), "Not that one.\u{E007}").await;
    fixture.asks(1).await;
    fixture.answers(1, "permission-allow").await;
    fixture.turn_ended(1, "success").await;
    let told = fixture.api.turn(2).await.body.to_string();
    assert!(told.contains(&format!("text of {yes}")) && told.contains("Not that one."), "{told}");
    assert!(!told.contains(&format!("text of {no}")), "{told}");
    fixture.end().await;
}

#[tokio::test]
async fn a_withdrawn_question_goes_away() {
    let fixture = fixture().await;
    fixture.api.script([bash("touch made"), Reply::text("Next.")]);
    fixture.say("Touch it").await;
    fixture.asks(1).await;
    fixture.browser.click("#interrupt").await;
    fixture.asks(0).await;
    fixture.turn_ended(1, "stopped").await;
    fixture.shows("notice", "Permission no longer asked for: Bash touch made").await;
    fixture.say("And now").await;
    fixture.shows("agent", "Next.").await;
    assert!(!fixture.made("made"));
    fixture.end().await;
}

/// The page goes and comes back, by its button and as a whole: what is open is
/// asked once, what was answered is not asked again.
#[tokio::test]
async fn questions_survive_a_reconnect_and_answered_ones_do_not() {
    let fixture = fixture().await;
    fixture.api.script([
        bash("touch first"),
        Reply::text("One."),
        bash("touch made"),
        Reply::text("Two."),
    ]);
    fixture.say("Touch it").await;
    fixture.asks(1).await;
    fixture.answers(1, "permission-allow").await;
    fixture.turn_ended(1, "success").await;
    fixture.say("And another").await;
    fixture.asks(1).await;

    fixture.browser.click("#connect").await;
    fixture.browser.until("document.body.dataset.connection === 'offline'").await;
    let disabled = "[...document.querySelectorAll('.permission button')].filter(b => b.disabled).map(b => b.dataset.testid)";
    let disabled = fixture.browser.evaluate(disabled).await;
    assert_eq!(disabled, json!(["permission-allow", "permission-always", "permission-deny"]));
    fixture.browser.screen(1280, 900, "light").await;
    fixture.browser.screenshot("permission-offline").await;
    fixture.browser.click("#connect").await;
    fixture.connected().await;
    fixture.asks(1).await;

    // A page that knows nothing comes across both; only one is still open.
    fixture.browser.open(&format!("http://{}/", fixture.relay.address())).await;
    fixture.connected().await;
    fixture.asks(1).await;
    assert_eq!(fixture.text_of(&part(1, "permission-input")).await, "touch made");
    fixture.shows("notice", "A permission was asked for and settled: Bash touch first").await;
    fixture.answers(1, "permission-allow").await;
    fixture.turn_ended(2, "success").await;
    assert!(fixture.made("made"));

    fixture.browser.open(&format!("http://{}/", fixture.relay.address())).await;
    fixture.connected().await;
    fixture.turn_ended(2, "success").await;
    // An announcement for a screen reader stays in the page.
    let said =
        fixture.browser.evaluate("document.querySelector('#announce-urgent').textContent").await;
    assert_eq!(said, "", "no prompt was shown, not even for a moment");
    fixture.asks(0).await;
    fixture.end().await;
}

/// For the eye: one prompt with all it can show, and a question with answers.
#[tokio::test]
async fn prompt_fits_every_screen() {
    let fixture = fixture().await;
    let command = "set -e\nfor name in one two three; do\n  echo \"$name\" >> list.txt # <img src=x onerror=alert(1)>\ndone\nrm -rf build && touch made";
    fixture.api.script([
        Message::default().text("I will need to run a script for that.").tool(
            "Bash",
            json!({ "command": command, "description": "Write the list and start from a clean build" }),
        ),
        Message::default().text("Done."),
    ]);
    fixture.say("Make the list and clean up.").await;
    fixture.asks(1).await;
    assert_eq!(fixture.text_of(&part(1, "permission-input")).await, command);
    assert_eq!(fixture.browser.evaluate("document.querySelectorAll('img').length").await, 0);
    screens(&fixture, "permission").await;
    fixture.answers(1, "permission-edit").await;
    screens(&fixture, "permission-edit").await;
    fixture.answers(1, "permission-edit").await;
    fixture.answers(1, "permission-allow").await;
    fixture.turn_ended(1, "success").await;

    let text = "Dear all,\n\nthe relay starts at \"noon\".\n";
    let file = fixture.env.workspace().join("notes.md");
    fixture.api.script([
        Reply::tool("Write", json!({ "file_path": file, "content": text })),
        Reply::text("Written."),
    ]);
    fixture.say("Write it down.").await;
    fixture.asks(1).await;
    let shown = fixture.text_of(&part(1, "permission-input")).await;
    assert!(shown.contains("the relay starts at \"noon\"."), "{shown}");
    screens(&fixture, "permission-write").await;
    fixture.answers(1, "permission-allow").await;
    fixture.turn_ended(2, "success").await;

    let questions = json!({ "questions": [{
        "question": "Which colour should the header have?", "header": "Colour", "multiSelect": false,
        "options": [
            { "label": "Teal", "description": "As the rest of the page" },
            { "label": "Amber", "description": "Easier to spot among other tabs" },
        ],
    }] });
    fixture.api.script([Reply::tool("AskUserQuestion", questions), Reply::text("Amber it is.")]);
    fixture.say("Colour the header.").await;
    fixture.asks(1).await;
    screens(&fixture, "question").await;
    fixture.browser.click("section.permission label:nth-of-type(2)").await;
    fixture.answers(1, "permission-allow").await;
    fixture.turn_ended(3, "success").await;
    let told = fixture.api.turns().last().expect("a request").body.to_string();
    assert!(told.contains("Amber"), "{told}");
    fixture.end().await;
}

/// Ways to answer that a finger cannot reach, not even by scrolling.
const COVERED: &str = "[...document.querySelectorAll('.permission :is(button, input, textarea), #send')]\
    .filter(each => each.checkVisibility())\
    .filter(each => {\
        const target = each.closest('label') ?? each;\
        target.scrollIntoView({ block: 'nearest', behavior: 'instant' });\
        const { left, top, width, height } = target.getBoundingClientRect();\
        const hit = document.elementFromPoint(left + width / 2, top + height / 2);\
        return hit === null || !target.contains(hit);\
    })\
    .map(each => each.dataset.testid ?? each.id)";

/// Screenshots on a desktop and a phone, by day and by night, held upright, held
/// across, and with its keyboard. Everything fits, and every way to answer can be
/// reached.
async fn screens(fixture: &BrowserFixture, name: &str) {
    for (screen, width, height, scheme) in [
        ("phone-dark", 375, 740, "dark"),
        ("phone-light", 375, 740, "light"),
        ("phone-across", 740, 360, "light"),
        ("phone-keyboard", 375, 400, "dark"),
        ("dark", 1280, 900, "dark"),
        ("light", 1280, 900, "light"),
    ] {
        let name = format!("{name}-{screen}");
        fixture.browser.screen(width, height, scheme).await;
        fixture.browser.assert_fits(&name).await;
        let wide = "[...document.querySelectorAll('.permission, .permission button, .permission input')]\
                    .filter(part => part.getBoundingClientRect().right > innerWidth).length";
        assert_eq!(fixture.browser.evaluate(wide).await, Value::from(0), "{name}");
        assert_eq!(fixture.browser.evaluate(COVERED).await, json!([]), "{name}");
        let room = fixture.browser.evaluate("document.querySelector('#permissions').clientHeight");
        assert!(room.await.as_u64().is_some_and(|room| room >= 140), "{name}");
        fixture.browser.screenshot(&name).await;
    }
}
