//! Calls of tools, as people read them.

use super::Page;
use claude_relay_testing::wait;
use serde_json::json;

/// The key F2 as WebDriver spells it.
const F2: &str = "\u{E032}";

#[tokio::test]
async fn a_plan_is_shown_and_answered_by_keys() {
    let page = Page::with(
        r##"
message(); begin("plan")
plan = "# The plan\n\n1. Read it\n2. **Mend** it"
call("p1", "ExitPlanMode", plan=plan)
note("answers", json.dumps(ask("ask-1", "ExitPlanMode", dict(plan=plan), tool_use_id="p1")))
note("answers", json.dumps(ask("ask-2", "ExitPlanMode", dict(plan=plan), tool_use_id="p1")))
end(); message()
"##,
    )
    .await;
    page.say("Plan it").await;
    page.shows(".permission strong", "Mend").await;
    page.shows(".permission h2", "The agent has a plan").await;
    page.shows("#activity-words", "Waiting for your answer").await;
    // Letters that are written do not answer.
    page.browser.type_into("#message", "a").await;
    page.browser.type_into("#message", F2).await;
    page.until("document.activeElement.matches('.permission')").await;
    page.browser.type_into(".permission", "d").await;
    page.until("document.querySelector('.permission[data-request-id=ask-2]')").await;
    page.browser.type_into("#message", F2).await;
    page.browser.type_into(".permission", "a").await;
    page.turn_ended(1).await;
    page.shows(".notice.quiet", "Plan sent back.").await;
    page.shows(".notice.quiet", "Plan approved.").await;
    let answers = page.agent.noted("answers");
    assert!(answers[0].contains(r#""behavior": "deny""#), "{answers:?}");
    assert!(answers[1].contains(r#""behavior": "allow""#), "{answers:?}");
    assert_eq!(page.browser.evaluate("document.querySelector('#message').value").await, "a");
    page.end().await;
}

#[tokio::test]
async fn changes_of_files_are_diffs() {
    let page = Page::with(
        r##"
message(); begin()
edit = dict(file_path="/w/a.rs", old_string="one\ntwo\nthree", new_string="one\n<b>2</b>\nthree")
call("e1", "Edit", **edit)
ask("ask-1", "Edit", edit, tool_use_id="e1")
outcome("e1", "ok", dict(structuredPatch=[dict(oldStart=7, oldLines=1, newStart=7, newLines=1, lines=["-two", "+<b>2</b>"])]))
call("w1", "Write", file_path="/w/b.txt", content="all new\n"); outcome("w1", "ok")
end(); message()
"##,
    )
    .await;
    page.say("Change it").await;
    page.shows(".permission .diff-removed", "two").await;
    page.shows(".permission .diff-added", "<b>2</b>").await;
    page.shows(".permission .diff-same", "three").await;
    page.browser.click("[data-testid=permission-allow]").await;
    page.turn_ended(1).await;
    let open = "document.querySelectorAll('.tool').forEach(tool => { tool.open = true; })";
    page.browser.evaluate(open).await;
    page.shows("[data-tool=Edit] .diff-place", "lines 7 to 7").await;
    page.shows("[data-tool=Write] .diff-added", "all new").await;
    page.end().await;
}

#[tokio::test]
async fn to_dos_are_a_list_and_tasks_a_tree_that_can_be_stopped() {
    let page = Page::with(
        r##"
message(); begin()
call("t1", "TaskCreate", subject="Write it", description="x"); outcome("t1", "Task #1 created successfully: Write it")
call("t2", "TaskCreate", subject="Test it", description="x"); outcome("t2", "", dict(task=dict(id="2", subject="Test it")))
call("t3", "TaskUpdate", taskId="1", status="completed"); outcome("t3", "ok")
call("t4", "TaskUpdate", taskId="2", status="in_progress", activeForm="Testing it"); outcome("t4", "ok")
say(type="system", subtype="task_started", task_id="b1", task_type="local_agent", description="Look around")
say(type="system", subtype="task_started", task_id="b2", task_type="local_bash", description="cargo test", parent_task_id="b1")
say(type="system", subtype="background_tasks_changed", tasks=[dict(task_id="b1", task_type="local_agent", description="Look around"), dict(task_id="b2", task_type="local_bash", description="cargo test", parent_task_id="b1")])
end()
take(lambda m: True if m.get("request", {}).get("subtype") == "stop_task" else None)
say(type="system", subtype="task_notification", task_id="b2", status="stopped", output_file="", summary="by hand")
say(type="system", subtype="background_tasks_changed", tasks=[dict(task_id="b1", task_type="local_agent", description="Look around")])
message(); begin()
call("t5", "TaskUpdate", taskId="2", status="completed"); outcome("t5", "ok"); end()
message()
"##,
    )
    .await;
    page.say("Work").await;
    page.turn_ended(1).await;
    page.shows("#todos-summary", "1 of 2 done · Testing it").await;
    page.browser
        .evaluate("document.querySelectorAll('.strip').forEach(strip => { strip.open = true; })")
        .await;
    page.shows("#todos [data-status=completed]", "Write it").await;
    page.shows("#tasks [data-task-id=b1] [data-task-id=b2]", "cargo test").await;
    page.browser.click("[data-task=b2]").await;
    page.until("document.querySelector('#tasks-summary').textContent === '1 task running'").await;
    let asked = || {
        page.agent
            .noted("requests")
            .iter()
            .any(|line| line.contains(r#""task_id": "b2""#))
            .then_some(())
    };
    wait::until("the request to stop the task", asked).await;
    page.shows(".notice", "Task stopped. by hand").await;
    page.say("Go on").await;
    page.turn_ended(2).await;
    page.until("document.querySelector('#todos').hidden").await;
    page.end().await;
}

#[tokio::test]
async fn form_of_an_mcp_server_is_filled_in_and_sent() {
    let page = Page::with(
        r##"
message(); begin()
schema = dict(type="object", required=["name", "people"], properties=dict(
    name=dict(type="string", title="Name"), people=dict(type="integer", minimum=1, maximum=4),
    kind=dict(type="string", enum=["first", "second"]), window=dict(type="boolean", default=True)))
say(type="control_request", request_id="form-1", request=dict(subtype="elicitation", mcp_server_name="booking", message="Where to?", mode="form", requested_schema=schema))
note("answers", json.dumps(answered("form-1")))
say(type="control_request", request_id="form-2", request=dict(subtype="elicitation", mcp_server_name="booking", message="Log in", mode="url", url="https://example.com/login"))
note("answers", json.dumps(answered("form-2")))
end(); message()
"##,
    )
    .await;
    page.say("Book").await;
    page.shows("[data-testid=elicitation]", "Where to?").await;
    page.browser.click("[data-testid=elicitation-accept]").await;
    page.shows("[data-testid=elicitation] .field-error", "Name is missing.").await;
    // What is open comes again after a reload.
    page.open().await;
    page.browser.type_into("[data-key=name]", "Ada").await;
    page.browser.type_into("[data-key=people]", "2").await;
    page.browser.click("[data-key=kind] option[value=second]").await;
    page.browser.click("[data-testid=elicitation-accept]").await;
    page.until(
        "document.querySelector('[data-testid=elicitation] a[href=\"https://example.com/login\"]')",
    )
    .await;
    page.browser.click("[data-testid=elicitation-decline]").await;
    page.turn_ended(1).await;
    let answers: Vec<serde_json::Value> = page
        .agent
        .noted("answers")
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let content = json!({ "name": "Ada", "people": 2, "kind": "second", "window": true });
    assert_eq!(answers[0], json!({ "action": "accept", "content": content }));
    assert_eq!(answers[1], json!({ "action": "decline" }));
    page.end().await;
}

/// For the eye, and what an eye would see at once.
#[tokio::test]
async fn tools_fit_every_screen() {
    let page = Page::with(
        r##"
message(); begin()
call("t1", "TaskCreate", subject="Write the parser", description="x"); outcome("t1", "Task #1 created")
call("t2", "TaskCreate", subject="Test it", description="x"); outcome("t2", "Task #2 created")
call("t3", "TaskUpdate", taskId="1", status="in_progress"); outcome("t3", "ok")
say(type="system", subtype="task_started", task_id="b1", task_type="local_agent", description="Look through the tests")
say(type="system", subtype="task_started", task_id="b2", task_type="local_bash", description="cargo test --workspace", parent_task_id="b1")
call("e1", "Edit", file_path="/w/a.rs", old_string="one\ntwo", new_string="one\n2"); outcome("e1", "ok")
plan = "# The plan\n\n1. Read `a.rs`\n2. **Mend** it\n\n| step | risk |\n|-|-|\n| one | small |"
ask("ask-1", "ExitPlanMode", dict(plan=plan), permission_suggestions=[dict(type="setMode", mode="acceptEdits", destination="session")])
end(); message()
"##,
    )
    .await;
    page.say("Work").await;
    page.until("document.querySelector('.permission')").await;
    page.browser
        .evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        .await;
    for (name, width, height, scheme) in
        [("light", 1280, 900, "light"), ("phone-dark", 375, 740, "dark")]
    {
        page.browser.screen(width, height, scheme).await;
        page.browser.assert_fits(name).await;
        page.browser.screenshot(&format!("tools-{name}")).await;
    }
    assert_eq!(
        page.browser.evaluate("document.title").await,
        json!("(1) Permission needed – claude-relay")
    );
    page.end().await;
}
