//! The page asks its user what the real CLI asks: a prompt for each question,
//! and every way to answer it.

use crate::support::reply::{Message, Reply};
use crate::support::visit::{ENTER, SELECT_ALL, Visit};
use serde_json::{Value, json};

async fn visit() -> Visit {
    Visit::launched(|launch| launch.mode("ask")).await
}

fn bash(command: &str) -> Reply {
    Reply::tool("Bash", json!({ "command": command, "description": "Make a file" }))
}

/// The part of the prompt at this place, from 1.
fn part(place: usize, testid: &str) -> String {
    format!("section.permission:nth-of-type({place}) [data-testid={testid}]")
}

/// What the page tells of itself while it asks.
impl Visit {
    async fn asks(&self, count: usize) {
        let prompts = format!("document.querySelectorAll('.permission').length === {count}");
        self.browser.until(&prompts).await;
    }

    async fn text_of(&self, css: &str) -> String {
        let text = format!("document.querySelector({}).innerText", json!(css));
        let text = self.browser.evaluate(&text).await;
        text.as_str().expect("an element with text").to_owned()
    }

    async fn answers(&self, place: usize, testid: &str) {
        self.browser.click(&part(place, testid)).await;
    }

    fn made(&self, file: &str) -> bool {
        self.place.workspace().join(file).exists()
    }

    /// How many frames of this type the page has got or sent.
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
    let visit = visit().await;
    visit.api.script([bash("touch made"), Reply::text("Done.")]);
    visit.say("Touch it").await;
    visit.asks(1).await;
    assert_eq!(visit.text_of(".permission h2").await, "The agent asks to use Bash");
    assert_eq!(visit.text_of(&part(1, "permission-input")).await, "touch made");
    assert_eq!(
        visit.browser.evaluate("document.title").await,
        "(1) Permission needed – claude-relay"
    );
    visit
        .browser
        .until("document.querySelector('#activity').innerText.includes('Waiting for your answer')")
        .await;
    // It does not take the keys of somebody who is writing.
    assert_eq!(visit.browser.evaluate("document.activeElement.id").await, "message");
    assert!(!visit.made("made"), "nothing happens before the answer");
    visit.answers(1, "permission-allow").await;
    visit.turn_ended(1, "success").await;
    visit.asks(0).await;
    assert!(visit.made("made"));
    visit.shows("notice", "Allowed once: Bash touch made").await;
    assert_eq!(visit.browser.evaluate("document.title").await, "claude-relay");

    visit.api.script([bash("touch other"), Reply::text("Done.")]);
    visit.say("Touch another").await;
    visit.asks(1).await;
    visit.answers(1, "permission-edit").await;
    let editor = part(1, "permission-editor");
    visit.browser.type_into(&editor, &format!("{SELECT_ALL}{{\"command\":")).await;
    visit.answers(1, "permission-allow").await;
    visit.browser.until("document.querySelector('.permission .field-error').innerText.includes('no valid JSON')").await;
    visit.browser.type_into(&editor, " \"touch edited\"}").await;
    visit.answers(1, "permission-allow").await;
    visit.turn_ended(2, "success").await;
    assert!(visit.made("edited") && !visit.made("other"));
    visit.shows("notice", "with the input edited").await;

    visit.api.script([bash("touch third"), Reply::text("Then not.")]);
    visit.say("And a third").await;
    visit.asks(1).await;
    visit.browser.type_into(&part(1, "permission-reason"), "Not before \"tea\".").await;
    visit.answers(1, "permission-deny").await;
    visit.turn_ended(3, "success").await;
    let told = visit.api.turns().last().expect("a request").body.to_string();
    assert!(
        told.contains(r#"Not before \\\"tea\\\"."#) || told.contains(r#"Not before \"tea\"."#),
        "{told}"
    );

    visit.api.script([bash("touch fourth"), Reply::text("Here again.")]);
    visit.say("And a fourth").await;
    visit.asks(1).await;
    visit.answers(1, "permission-stop").await;
    visit.answers(1, "permission-deny").await;
    visit.turn_ended(4, "stopped").await;
    visit.say("Still there?").await;
    visit.shows("agent", "Here again.").await;
    assert!(!visit.made("third") && !visit.made("fourth"));
    visit.end().await;
}

#[tokio::test]
async fn allow_always_adds_the_chosen_suggestions() {
    let visit = visit().await;
    visit.api.script([
        bash("touch made"),
        Reply::text("One."),
        bash("touch made"),
        Reply::text("Two."),
    ]);
    visit.say("Touch it").await;
    visit.asks(1).await;
    let offered = visit.text_of(".permission .choices").await;
    assert!(offered.contains("touch"), "{offered}");
    // Nothing chosen is nothing to keep.
    let boxes = "[...document.querySelectorAll('[data-testid=permission-suggestion]')]";
    assert_eq!(visit.browser.evaluate(&format!("{boxes}.findIndex(box => box.checked)")).await, 0);
    let disabled = "document.querySelector('[data-testid=permission-always]').disabled";
    assert_eq!(visit.browser.evaluate(disabled).await, false);
    visit.answers(1, "permission-suggestion").await;
    assert_eq!(visit.browser.evaluate(disabled).await, true);
    visit.answers(1, "permission-suggestion").await;
    visit.answers(1, "permission-always").await;
    visit.turn_ended(1, "success").await;

    std::fs::remove_file(visit.place.workspace().join("made")).expect("the tool's file");
    visit.say("Touch it again").await;
    visit.turn_ended(2, "success").await;
    assert!(visit.made("made"));
    assert_eq!(visit.frames("permission_request").await, 1);
    visit.end().await;
}

/// The agent's model and mode are switched while it runs; no mode is offered
/// that the server does not allow.
#[tokio::test]
async fn model_and_mode_are_switched() {
    let visit = visit().await;
    visit.api.script([Reply::text("One.")]);
    visit.say("First").await;
    visit.turn_ended(1, "success").await;

    visit.browser.click("#model").await;
    let offered = "[...document.querySelectorAll('#models option')].map(option => option.value)";
    visit.browser.until(&format!("{offered}.some(model => model.includes('haiku'))")).await;
    let model = format!("{SELECT_ALL}claude-test-model-7{ENTER}");
    visit.browser.type_into("#model", &model).await;
    visit.shows("notice", "Model set to claude-test-model-7").await;
    for select in ["permission-mode", "config-permission-mode"] {
        let modes = format!(
            "[...document.querySelectorAll('#{select} option:enabled')].map(option => option.value)"
        );
        let modes = visit.browser.evaluate(&modes).await;
        assert_eq!(modes, json!(["", "default", "acceptEdits", "plan", "dontAsk"]), "{select}");
    }
    visit.browser.click("#permission-mode option[value=acceptEdits]").await;
    visit.shows("notice", "Permission mode set to acceptEdits").await;

    let file = visit.place.workspace().join("made");
    let write = json!({ "file_path": file, "content": "x" });
    visit.api.script([Reply::tool("Write", write), Reply::text("Written.")]);
    visit.say("Write it").await;
    visit.turn_ended(2, "success").await;
    assert!(visit.made("made"), "nobody was asked");
    assert_eq!(visit.api.turn(2).await.body["model"], "claude-test-model-7");
    visit.end().await;
}

#[tokio::test]
async fn two_at_once_are_answered_each() {
    let visit = visit().await;
    let read = |name: &str| {
        let file = visit.place.file(name);
        std::fs::write(&file, format!("text of {name}")).expect("a file of the test");
        json!({ "file_path": file })
    };
    let both = Message::default().tool("Read", read("first")).tool("Read", read("second"));
    visit.api.script([both.into(), Reply::text("Read.")]);
    visit.say("Read both").await;
    visit.asks(2).await;
    let count = visit.text_of("#permissions-count").await;
    assert_eq!(count, "2 requests are waiting for an answer");
    let second = visit.text_of(&part(2, "permission-input")).await;
    let (yes, no) =
        if second.contains("second") { ("first", "second") } else { ("second", "first") };
    visit
        .browser
        .until(
            "[...document.querySelectorAll('[data-role=tool] .fold-status')]\
             .every(status => status.textContent === 'waiting for you')",
        )
        .await;
    screens(&visit, "permissions-two").await;

    visit.browser.type_into(&part(2, "permission-reason"), "Not that one.\u{E007}").await;
    visit.asks(1).await;
    visit.answers(1, "permission-allow").await;
    visit.turn_ended(1, "success").await;
    let told = visit.api.turn(2).await.body.to_string();
    assert!(told.contains(&format!("text of {yes}")) && told.contains("Not that one."), "{told}");
    assert!(!told.contains(&format!("text of {no}")), "{told}");
    visit.end().await;
}

#[tokio::test]
async fn a_withdrawn_question_goes_away() {
    let visit = visit().await;
    visit.api.script([bash("touch made"), Reply::text("Next.")]);
    visit.say("Touch it").await;
    visit.asks(1).await;
    visit.browser.click("#interrupt").await;
    visit.asks(0).await;
    visit.turn_ended(1, "stopped").await;
    visit.shows("notice", "Permission no longer asked for: Bash touch made").await;
    visit.say("And now").await;
    visit.shows("agent", "Next.").await;
    assert!(!visit.made("made"));
    visit.end().await;
}

/// The page goes and comes back, by its button and as a whole: what is open is
/// asked once, what was answered is not asked again.
#[tokio::test]
async fn questions_survive_a_reconnect_and_answered_ones_do_not() {
    let visit = visit().await;
    visit.api.script([
        bash("touch first"),
        Reply::text("One."),
        bash("touch made"),
        Reply::text("Two."),
    ]);
    visit.say("Touch it").await;
    visit.asks(1).await;
    visit.answers(1, "permission-allow").await;
    visit.turn_ended(1, "success").await;
    visit.say("And another").await;
    visit.asks(1).await;

    visit.browser.click("#connect").await;
    visit.browser.until("document.body.dataset.connection === 'offline'").await;
    let disabled = "[...document.querySelectorAll('.permission button')].filter(b => b.disabled).map(b => b.dataset.testid)";
    let disabled = visit.browser.evaluate(disabled).await;
    assert_eq!(disabled, json!(["permission-allow", "permission-always", "permission-deny"]));
    visit.browser.screen(1280, 900, "light").await;
    visit.browser.screenshot("permission-offline").await;
    visit.browser.click("#connect").await;
    visit.connected().await;
    visit.asks(1).await;

    // A page that knows nothing comes across both; only one is still open.
    visit.browser.open(&format!("http://{}/", visit.relay.address())).await;
    visit.connected().await;
    visit.asks(1).await;
    assert_eq!(visit.text_of(&part(1, "permission-input")).await, "touch made");
    visit.shows("notice", "A permission was asked for and settled: Bash touch first").await;
    visit.answers(1, "permission-allow").await;
    visit.turn_ended(2, "success").await;
    assert!(visit.made("made"));

    visit.browser.open(&format!("http://{}/", visit.relay.address())).await;
    visit.connected().await;
    visit.turn_ended(2, "success").await;
    // What is said to a screen reader stays where it was said.
    let said =
        visit.browser.evaluate("document.querySelector('#announce-urgent').textContent").await;
    assert_eq!(said, "", "no prompt was shown, not even for a moment");
    visit.asks(0).await;
    visit.end().await;
}

/// For the eye: one prompt with all it can show, and a question with answers.
#[tokio::test]
async fn how_a_prompt_looks() {
    let visit = visit().await;
    let command = "set -e\nfor name in one two three; do\n  echo \"$name\" >> list.txt # <img src=x onerror=alert(1)>\ndone\nrm -rf build && touch made";
    visit.api.script([
        Message::default().text("I will need to run a script for that.").tool(
            "Bash",
            json!({ "command": command, "description": "Write the list and start from a clean build" }),
        ),
        Message::default().text("Done."),
    ]);
    visit.say("Make the list and clean up.").await;
    visit.asks(1).await;
    assert_eq!(visit.text_of(&part(1, "permission-input")).await, command);
    assert_eq!(visit.browser.evaluate("document.querySelectorAll('img').length").await, 0);
    screens(&visit, "permission").await;
    visit.answers(1, "permission-edit").await;
    screens(&visit, "permission-edit").await;
    visit.answers(1, "permission-edit").await;
    visit.answers(1, "permission-allow").await;
    visit.turn_ended(1, "success").await;

    let text = "Dear all,\n\nthe relay starts at \"noon\".\n";
    let file = visit.place.workspace().join("notes.md");
    visit.api.script([
        Reply::tool("Write", json!({ "file_path": file, "content": text })),
        Reply::text("Written."),
    ]);
    visit.say("Write it down.").await;
    visit.asks(1).await;
    let shown = visit.text_of(&part(1, "permission-input")).await;
    assert!(shown.contains("the relay starts at \"noon\"."), "{shown}");
    screens(&visit, "permission-write").await;
    visit.answers(1, "permission-allow").await;
    visit.turn_ended(2, "success").await;

    let questions = json!({ "questions": [{
        "question": "Which colour should the header have?", "header": "Colour", "multiSelect": false,
        "options": [
            { "label": "Teal", "description": "As the rest of the page" },
            { "label": "Amber", "description": "Easier to spot among other tabs" },
        ],
    }] });
    visit.api.script([Reply::tool("AskUserQuestion", questions), Reply::text("Amber it is.")]);
    visit.say("Colour the header.").await;
    visit.asks(1).await;
    screens(&visit, "question").await;
    visit.browser.click("section.permission label:nth-of-type(2)").await;
    visit.answers(1, "permission-allow").await;
    visit.turn_ended(3, "success").await;
    let told = visit.api.turns().last().expect("a request").body.to_string();
    assert!(told.contains("Amber"), "{told}");
    visit.end().await;
}

/// Screenshots on a desktop and a phone, by day and by night. Everything fits,
/// and every way to answer can be seen.
async fn screens(visit: &Visit, name: &str) {
    for (screen, width, height, scheme) in [
        ("phone-dark", 375, 740, "dark"),
        ("phone-light", 375, 740, "light"),
        ("dark", 1280, 900, "dark"),
        ("light", 1280, 900, "light"),
    ] {
        let name = format!("{name}-{screen}");
        visit.browser.screen(width, height, scheme).await;
        visit.browser.assert_fits(&name).await;
        let wide = "[...document.querySelectorAll('.permission, .permission button, .permission input')]\
                    .filter(part => part.getBoundingClientRect().right > innerWidth).length";
        assert_eq!(visit.browser.evaluate(wide).await, Value::from(0), "{name}");
        visit.browser.screenshot(&name).await;
    }
}
