//! The views of Claude Code's messages about what goes on beside the answer.

use claude_relay_protocol::json::fields;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::value::{milliseconds, number};
use super::{HookRun, View};
use crate::types::raw_json::text_of;

/// The view of a line of this `type`; `None` where it is not of a known shape.
pub(super) fn read<'a>(kind: &str, line: &'a RawValue) -> Option<View<'a>> {
    match kind {
        "tool_progress" => {
            let [id, name, seconds, parent] = fields(
                line.get(),
                ["tool_use_id", "tool_name", "elapsed_time_seconds", "parent_tool_use_id"],
            )
            .ok()?;
            let seconds = value::<f64>(seconds);
            Some(View::ToolProgress {
                tool_use_id: text_of(id)?,
                name: text_of(name)?,
                elapsed: seconds.and_then(|s| std::time::Duration::try_from_secs_f64(s).ok()),
                parent: text_of(parent),
            })
        }
        "conversation_reset" => {
            let [id, trigger] = fields(line.get(), ["new_conversation_id", "trigger"]).ok()?;
            Some(View::ConversationReset { conversation: text_of(id)?, trigger: text_of(trigger) })
        }
        "rate_limit_event" => {
            let [info] = fields(line.get(), ["rate_limit_info"]).ok()?;
            let [status, kind, utilization, resets_at] =
                fields(info?.get(), ["status", "rateLimitType", "utilization", "resetsAt"]).ok()?;
            Some(View::RateLimit {
                status: text_of(status)?,
                kind: text_of(kind),
                utilization: value(utilization),
                resets_at: number(resets_at),
            })
        }
        "prompt_suggestion" => {
            let [suggestion] = fields(line.get(), ["suggestion"]).ok()?;
            text_of(suggestion).map(View::PromptSuggestion)
        }
        _ => None,
    }
}

/// The view of a line of the `type` `system`.
pub(super) fn system<'a>(subtype: &str, line: &'a RawValue) -> Option<View<'a>> {
    match subtype {
        "task_progress" => {
            let [task, tool, description, last_tool, summary, usage] = fields(
                line.get(),
                ["task_id", "tool_use_id", "description", "last_tool_name", "summary", "usage"],
            )
            .ok()?;
            let usage = usage
                .map(|usage| fields(usage.get(), ["total_tokens", "tool_uses", "duration_ms"]));
            let [tokens, uses, duration] = usage.and_then(Result::ok).unwrap_or_default();
            Some(View::TaskProgress {
                task_id: text_of(task)?,
                tool_use_id: text_of(tool),
                description: text_of(description),
                last_tool: text_of(last_tool),
                summary: text_of(summary),
                total_tokens: number(tokens),
                tool_uses: number(uses),
                duration: milliseconds(duration),
            })
        }
        "task_updated" => {
            let [task, patch] = fields(line.get(), ["task_id", "patch"]).ok()?;
            let [status, description, error] =
                fields(patch?.get(), ["status", "description", "error"]).ok()?;
            Some(View::TaskUpdated {
                task_id: text_of(task)?,
                status: text_of(status),
                description: text_of(description),
                error: text_of(error),
            })
        }
        "compact_boundary" => {
            let [metadata] = fields(line.get(), ["compact_metadata"]).ok()?;
            let [trigger, before, after] =
                fields(metadata?.get(), ["trigger", "pre_tokens", "post_tokens"]).ok()?;
            Some(View::Compacted {
                trigger: text_of(trigger),
                pre_tokens: number(before),
                post_tokens: number(after),
            })
        }
        "permission_denied" => {
            let [tool, id, kind, reason, message] = fields(
                line.get(),
                ["tool_name", "tool_use_id", "decision_reason_type", "decision_reason", "message"],
            )
            .ok()?;
            Some(View::PermissionDenied {
                tool_use_id: text_of(id),
                tool: text_of(tool)?,
                reason_kind: text_of(kind),
                reason: text_of(reason),
                message: text_of(message).unwrap_or_default(),
            })
        }
        "notification" => {
            let [text, priority] = fields(line.get(), ["text", "priority"]).ok()?;
            Some(View::Notification { text: text_of(text)?, priority: text_of(priority) })
        }
        "hook_started" => hook(line).map(View::HookStarted),
        "hook_progress" => hook(line).map(View::HookProgress),
        "hook_response" => {
            let [outcome, code] = fields(line.get(), ["outcome", "exit_code"]).ok()?;
            Some(View::HookFinished {
                hook: hook(line)?,
                outcome: text_of(outcome),
                exit_code: value(code),
            })
        }
        "status" => {
            let [status, mode, error] =
                fields(line.get(), ["status", "permissionMode", "compact_error"]).ok()?;
            // Without any of them it is something else.
            status?;
            Some(View::Status {
                status: text_of(status),
                permission_mode: text_of(mode),
                compact_error: text_of(error),
            })
        }
        _ => None,
    }
}

fn hook(line: &RawValue) -> Option<HookRun<'_>> {
    let [id, name, event, output] =
        fields(line.get(), ["hook_id", "hook_name", "hook_event", "output"]).ok()?;
    Some(HookRun {
        id: text_of(id)?,
        name: text_of(name)?,
        event: text_of(event)?,
        output: text_of(output).unwrap_or_default(),
    })
}

fn value<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Option<T> {
    serde_json::from_str(value?.get()).ok()
}

#[cfg(test)]
mod tests {
    use super::super::read::tests::check;

    // Lines as the CLI printed them, 2.1.329 and 2.1.332.

    #[test]
    fn what_goes_on_beside_the_answer_is_a_view() {
        check(
            r#"{"type":"system","subtype":"task_progress","task_id":"a8bfaececadfda62d","run_id":"0mx0dovrt-f90ecade","tool_use_id":"toolu_1","description":"Running d","subagent_type":"general-purpose","usage":{"total_tokens":18,"tool_uses":1,"duration_ms":2279},"last_tool_name":"Bash","uuid":"78b16de7-5dae-4845-a7b2-dee9a085304d","session_id":"e067264a-2cc4-49fc-9142-193b9d4dfb89"}"#,
            &[r#"progress a8bfaececadfda62d Some("Bash") Some(1) Some(2.279s)"#],
        );
        check(
            r#"{"type":"system","subtype":"task_updated","task_id":"a8bfaececadfda62d","run_id":"0mx0dovrt-f90ecade","patch":{"status":"completed","end_time":1795868429677},"uuid":"187eb55c-2dbf-4ea9-83e5-6cde44474443","session_id":"e067264a-2cc4-49fc-9142-193b9d4dfb89"}"#,
            &[r#"updated a8bfaececadfda62d Some("completed")"#],
        );
        check(
            r#"{"type":"system","subtype":"compact_boundary","session_id":"e6496ced-b5c4-4628-9528-8a9160f58c79","uuid":"b81ded80-6f6e-4d5f-9f00-77da9c33de4b","compact_metadata":{"trigger":"manual","pre_tokens":15,"post_tokens":2551,"cumulative_dropped_tokens":0,"duration_ms":28},"logical_parent_uuid":"8857756c-87f4-4dc8-84d9-9099d4fd3d90"}"#,
            &[r#"compacted Some("manual") Some(15) Some(2551)"#],
        );
        check(
            r#"{"type":"conversation_reset","new_conversation_id":"34002783-11f4-44cd-a399-e4ca294e7b90","uuid":"34002783-11f4-44cd-a399-e4ca294e7b90","trigger":"clear","user_message_uuid":"bbae2372-7b6d-4f2d-8897-b5e737c23908","timestamp":"2026-11-20T19:41:31.593Z","session_id":"65d5ab38-880c-4e2c-a971-483fda32f917"}"#,
            &[r#"reset 34002783-11f4-44cd-a399-e4ca294e7b90 Some("clear")"#],
        );
        check(
            r#"{"type":"system","subtype":"permission_denied","tool_name":"Bash","tool_use_id":"toolu_1","decision_reason_type":"mode","message":"Permission to use Bash has been denied because Claude Code is running in don't ask mode. IMPORTANT: You *may* attempt to accomplish this action using other tools that might naturally be used to accomplish this goal, e.g. using head instead of cat. But you *should not* attempt to work around this denial in malicious ways, e.g. do not use your ability to run tests to execute non-test actions. You should only try to work around this restriction in reasonable ways that do not attempt to bypass the intent behind this denial. If you believe this capability is essential to complete the user's request, STOP and explain to the user what you were trying to do and why you need this permission. Let the user decide how to proceed.","uuid":"230875b3-771d-4a80-826c-a0e33905f26c","session_id":"a9326841-c94b-4a99-87c3-815faa03dc0a"}"#,
            &[r#"denied Bash Some("mode") Permission to use Bas"#],
        );
        check(
            r#"{"type":"rate_limit_event","rate_limit_info":{"status":"allowed_warning","resetsAt":1800000000,"rateLimitType":"five_hour","utilization":0.92,"isUsingOverage":false,"surpassedThreshold":0.9,"unifiedWindows":{"five_hour":{"utilization":0.92,"resetsAt":1800000000,"surpassedThreshold":0.9}}},"uuid":"ca78d729-3eb9-4fa8-a05c-98f0d40f42a5","session_id":"5483ceb5-968a-43dc-9a5a-713f746de161"}"#,
            &[r#"limit allowed_warning Some("five_hour") Some(0.92) Some(1800000000)"#],
        );
        check(
            r#"{"type":"system","subtype":"status","status":"requesting","session_id":"e5a8666d-fd5a-4d52-b965-479885c3c449","uuid":"6980e23c-3bb1-4a93-b316-31ea52771619"}"#,
            &[r#"status Some("requesting") None"#],
        );
        check(
            r#"{"type":"system","subtype":"status","status":null,"permissionMode":"plan","uuid":"0542ebf1-9b6b-4d33-b4b1-80afa2c6cce2","session_id":"f91da2e5-15fd-4e04-95c2-a17bc3985cc5"}"#,
            &[r#"status None Some("plan")"#],
        );
    }

    #[test]
    fn hooks_are_views() {
        check(
            r#"{"type":"system","subtype":"hook_started","hook_id":"91b76f51-26a6-492c-b9c3-8eb34c117fe4","hook_name":"SessionStart:startup","hook_event":"SessionStart","uuid":"394aeea1-453c-46ef-b00b-8b7ce711fae3","session_id":"790402c8-b014-4e98-98f3-a349fc268eb3"}"#,
            &[r#"hook SessionStart:startup"#],
        );
        check(
            r#"{"type":"system","subtype":"hook_progress","hook_id":"56f6927d-8e6f-4a35-b37b-9288df77376c","hook_name":"PreToolUse:Bash","hook_event":"PreToolUse","stdout":"one\n","stderr":"","output":"one\n","uuid":"b10a2aa2-c512-46eb-8be9-944070b92eed","session_id":"790402c8-b014-4e98-98f3-a349fc268eb3"}"#,
            &[r#"hook PreToolUse "one\n""#],
        );
        check(
            r#"{"type":"system","subtype":"hook_response","hook_id":"56f6927d-8e6f-4a35-b37b-9288df77376c","hook_name":"PreToolUse:Bash","hook_event":"PreToolUse","output":"one\ntwo\n","stdout":"one\ntwo\n","stderr":"","exit_code":0,"outcome":"success","uuid":"901a0d36-a42e-4b88-a068-65c09982445d","session_id":"790402c8-b014-4e98-98f3-a349fc268eb3"}"#,
            &[r#"hook PreToolUse:Bash "one\ntwo\n" Some("success") Some(0)"#],
        );
    }

    #[test]
    fn a_start_that_fails_says_why() {
        check(
            r#"{"type":"result","subtype":"error_during_execution","duration_ms":0,"is_error":true,"num_turns":0,"session_id":"14cf531a-5ac8-4826-887f-6a5256c8ab49","uuid":"c3db10db-6d9b-4cdc-b384-1e0dc6488c3a","errors":["Configuration error in /home/user/.claude.json: JSON Parse error: Expected '}'\nNo backup of this file was found.\nFix the JSON in /home/user/.claude.json, or move the file aside to start with default settings."],"startup_failure_reason":"config_file_invalid"}"#,
            &[r#"not started Some("config_file_invalid") 1"#],
        );
    }

    /// As the SDK declares them; a fake API does not bring them about.
    #[test]
    fn suggestions_notices_and_the_progress_of_tools_are_views() {
        check(
            r#"{"type":"prompt_suggestion","suggestion":"run the tests","uuid":"u","session_id":"s"}"#,
            &["suggestion run the tests"],
        );
        check(
            r#"{"type":"system","subtype":"notification","key":"k","text":"look","priority":"high","uuid":"u","session_id":"s"}"#,
            &[r#"notice look Some("high")"#],
        );
        check(
            r#"{"type":"tool_progress","tool_use_id":"t","tool_name":"Bash","parent_tool_use_id":null,"elapsed_time_seconds":30.5,"uuid":"u","session_id":"s"}"#,
            &["tool goes on t Bash Some(30.5s)"],
        );
    }

    #[test]
    fn lines_of_another_shape_have_no_view() {
        for line in [
            r#"{"type":"tool_progress"}"#,
            r#"{"type":"conversation_reset","new_conversation_id":5}"#,
            r#"{"type":"rate_limit_event","rate_limit_info":[]}"#,
            r#"{"type":"prompt_suggestion"}"#,
            r#"{"type":"system","subtype":"task_updated","task_id":"t"}"#,
            r#"{"type":"system","subtype":"hook_started","hook_id":"h"}"#,
            r#"{"type":"system","subtype":"status"}"#,
            r#"{"type":"system","subtype":"compact_boundary"}"#,
        ] {
            check(line, &[]);
        }
    }
}
