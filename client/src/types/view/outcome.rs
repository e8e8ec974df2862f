//! The views of what Claude Code's tools tell beside what the model sees: changed
//! files and the list of what to do.

use std::borrow::Cow;

use claude_relay_protocol::json::{elements, fields};
use serde_json::value::RawValue;

use super::value::is_true;
use super::{Todo, View};
use crate::types::raw_json::text_of;

/// The view of `tool_use_result`, known by its shape: it does not name the tool.
pub(super) fn read(outcome: &RawValue) -> Option<View<'_>> {
    file_change(outcome).or_else(|| todo_change(outcome))
}

fn file_change(outcome: &RawValue) -> Option<View<'_>> {
    let [kind, path, content, patch] =
        fields(outcome.get(), ["type", "filePath", "content", "structuredPatch"]).ok()?;
    let path = text_of(path)?;
    let created = match text_of(kind).as_deref() {
        Some("create") => true,
        Some("update") => false,
        // An edit names no kind but carries its patch.
        None if patch.is_some() => false,
        _ => return None,
    };
    Some(View::FileChange { path, created, content: text_of(content).or_else(|| edited(outcome)) })
}

/// The content of a file after an edit that names what it replaced.
fn edited(outcome: &RawValue) -> Option<Cow<'_, str>> {
    let names = ["originalFile", "oldString", "newString", "replaceAll", "userModified"];
    let [before, old, new, all, modified] = fields(outcome.get(), names).ok()?;
    let (before, old, new) = (text_of(before)?, text_of(old)?, text_of(new)?);
    // What the user made of it is in the patch alone.
    if is_true(modified) || old.is_empty() || !before.contains(&*old) {
        return None;
    }
    let after =
        if is_true(all) { before.replace(&*old, &new) } else { before.replacen(&*old, &new, 1) };
    Some(after.into())
}

fn todo_change(outcome: &RawValue) -> Option<View<'_>> {
    let [task, tasks, id, changed, status] =
        fields(outcome.get(), ["task", "tasks", "taskId", "updatedFields", "statusChange"]).ok()?;
    if let Some(tasks) = tasks {
        let tasks: Option<Vec<_>> = elements(tasks).ok()?.into_iter().map(todo).collect();
        return tasks.map(View::Todos);
    }
    if let Some(task) = task {
        let [status] = fields(task.get(), ["status"]).ok()?;
        // One that has a status was read.
        return todo(task).filter(|_| status.is_none()).map(View::TodoAdded);
    }
    if elements(changed?).ok()?.is_empty() {
        return None;
    }
    let [to] = status.map_or([None], |status| fields(status.get(), ["to"]).unwrap_or_default());
    Some(View::TodoChanged { id: text_of(id)?, status: text_of(to) })
}

/// An entry of the tools for single to-dos.
fn todo(task: &RawValue) -> Option<Todo<'_>> {
    let [id, content, status] = fields(task.get(), ["id", "subject", "status"]).ok()?;
    let status = text_of(status).unwrap_or(Cow::Borrowed("pending"));
    let active_form = None;
    Some(Todo { id: Some(text_of(id)?), content: text_of(content)?, status, active_form })
}

/// The list in a call of the tool that writes it whole.
pub(super) fn todos_written(input: &RawValue) -> Option<View<'_>> {
    let [todos] = fields(input.get(), ["todos"]).ok()?;
    let todos = elements(todos?).ok()?;
    Some(View::Todos(todos.into_iter().filter_map(written).collect()))
}

fn written(todo: &RawValue) -> Option<Todo<'_>> {
    let [content, status, active_form] =
        fields(todo.get(), ["content", "status", "activeForm"]).ok()?;
    let (content, status) = (text_of(content)?, text_of(status)?);
    Some(Todo { id: None, content, status, active_form: text_of(active_form) })
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::check;

    fn check_outcome(outcome: &str, expected: &[&str]) {
        let line = format!(
            r#"{{"type":"user","message":{{"role":"user","content":[{{"tool_use_id":"t","type":"tool_result","content":"ok"}}]}},"tool_use_result":{outcome}}}"#
        );
        check(&line, &[&[r#"result t "ok" false"#], expected].concat());
    }

    #[test]
    fn a_result_of_a_tool_tells_what_it_did_to_a_file() {
        check(
            r#"{"type":"user","message":{"role":"user","content":[{"tool_use_id":"t","type":"tool_result","content":"ok"}]},"tool_use_result":{"type":"create","filePath":"/f","content":"x","structuredPatch":[]}}"#,
            &[r#"result t "ok" false"#, r#"file /f true Some("x")"#],
        );
        check(
            r#"{"type":"user","message":{"role":"user","content":[{"tool_use_id":"t","type":"tool_result","content":"ok"}]},"tool_use_result":{"filePath":"/f","oldString":"a","newString":"b","structuredPatch":[]}}"#,
            &[r#"result t "ok" false"#, "file /f false None"],
        );
        // Reading one changes nothing.
        check(
            r#"{"type":"user","message":{"role":"user","content":[{"tool_use_id":"t","type":"tool_result","content":"x","is_error":true}]},"tool_use_result":{"type":"text","file":{"filePath":"/f"}}}"#,
            &[r#"result t "x" true"#],
        );
        check(r#"{"type":"user","message":{"role":"user","content":"plain"}}"#, &[]);
    }

    #[test]
    fn an_edit_gives_the_content_where_it_says_what_it_replaced() {
        for (more, content) in [
            (r#""newString":"X""#, r#"Some("X b a")"#),
            (r#""newString":"X","replaceAll":true"#, r#"Some("X b X")"#),
            (r#""newString":"X","userModified":true"#, "None"),
            (r#""newString":5"#, "None"),
        ] {
            let outcome = format!(
                r#"{{"filePath":"/f","oldString":"a","originalFile":"a b a","structuredPatch":[],{more}}}"#
            );
            check_outcome(&outcome, &[&format!("file /f false {content}")]);
        }
        let elsewhere = r#"{"filePath":"/f","oldString":"z","newString":"X","originalFile":"a","structuredPatch":[]}"#;
        check_outcome(elsewhere, &["file /f false None"]);
    }

    #[test]
    fn to_dos_of_the_task_tools_are_told_one_by_one() {
        for (outcome, expected) in [
            (
                r#"{"task":{"id":"1","subject":"Write it","description":"d"}}"#,
                &[r#"todo Some("1"):Write it:pending"#][..],
            ),
            (
                r#"{"success":true,"taskId":"1","updatedFields":["status"],"statusChange":{"from":"pending","to":"deleted"}}"#,
                &[r#"todo 1 is Some("deleted")"#],
            ),
            (r#"{"success":true,"taskId":"1","updatedFields":["subject"]}"#, &["todo 1 is None"]),
            (r#"{"success":false,"taskId":"1","updatedFields":[],"error":"Task not found"}"#, &[]),
            (
                r#"{"tasks":[{"id":"1","subject":"a","status":"completed","blockedBy":[]},{"id":"2","subject":"b","status":"pending"}]}"#,
                &[r#"todos Some("1"):a:completed Some("2"):b:pending"#],
            ),
            // Reading one changes nothing.
            (r#"{"task":{"id":"1","subject":"a","description":"d","status":"pending"}}"#, &[]),
            (r#"{"task":{"task_id":"b1","output":"x"}}"#, &[]),
            (r#"{"task":null}"#, &[]),
            (r#"{"tasks":5}"#, &[]),
        ] {
            check_outcome(outcome, expected);
        }
    }
}
