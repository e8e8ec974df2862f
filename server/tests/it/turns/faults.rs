//! Faults of turns, conversations and questions that were seen once, and the
//! tests that show each to be gone.

use std::collections::BTreeSet;
use std::path::Path;

/// A fault in words, and its tests, in whatever crate they are.
const FAULTS: &[(&str, &[&str])] = &[
    (
        "a question is answered with the report of a background task, or with what a crash left of it",
        &[
            "a_question_asked_during_the_agents_own_turn_is_not_answered_by_it",
            "the_agents_own_turn_is_shown_among_the_turns_and_not_as_the_answer",
            "a_crash_with_a_running_task_leaves_the_next_answers_alone",
        ],
    ),
    (
        "a one-shot ends while background tasks run",
        &[
            "the_program_ends_after_the_task_and_prints_the_answer_alone",
            "ask_waits_for_background_tasks_and_their_report",
            "a_question_is_answered_before_its_task_and_ends_after_it",
        ],
    ),
    (
        "the rest of a turn whose client died is taken for the next answer",
        &["the_rest_of_another_turn_is_not_part_of_the_answer"],
    ),
    (
        "numbers of a new stream are compared with those of the old one",
        &[
            "a_turn_ends_with_an_error_when_its_server_is_restarted",
            "a_turn_after_the_restart_is_measured_by_the_new_numbers_alone",
            "every_question_gets_its_own_answer_or_an_error_wherever_the_server_is_killed",
        ],
    ),
    (
        "a refused resume runs the message in another conversation",
        &[
            "a_configured_resume_that_is_refused_runs_nothing",
            "a_conversation_that_is_not_known_and_a_missing_key_are_told_in_words",
            "a_session_that_is_not_known_is_said_and_nothing_runs_in_another",
        ],
    ),
    (
        "a changed system prompt does not count in a conversation that goes on",
        &["what_is_changed_counts_in_the_conversation_that_goes_on"],
    ),
    (
        "another directory goes on with the conversation; continue and forkSession are ignored",
        &[
            "another_directory_is_another_conversation",
            "a_fork_without_a_name_is_one_of_the_conversation_that_goes_on",
            "conversations_go_on_where_the_options_say",
        ],
    ),
    (
        "nothing begins a new conversation",
        &[
            "a_new_conversation_is_begun_by_a_control_request",
            "a_question_begins_a_new_conversation_where_one_is_open",
            "another_conversation_begins_in_the_middle_of_a_turn",
        ],
    ),
    (
        "the mode unrestricted has no prompt channel",
        &[
            "a_question_is_answered_where_everything_runs_unasked",
            "a_plan_is_approved",
            "bypassing_can_be_allowed_without_being_on",
        ],
    ),
    (
        "the terminal cannot answer questions, plans and forms",
        &[
            "a_question_with_choices_is_answered_by_numbers_and_in_own_words",
            "a_plan_is_shown_as_text_and_sent_back_with_what_is_to_change",
            "a_form_is_filled_in_on_the_terminal",
            "a_dialog_is_shown_and_dismissed",
        ],
    ),
    (
        "chat shows no turn of the agent's own, leaves a question open, loses lines",
        &[
            "a_turn_that_the_agent_begins_is_shown_and_the_line_being_typed_is_kept",
            "a_question_between_two_lines_is_asked_at_once_and_answered_by_what_is_typed_then",
            "lines_that_come_in_one_write_are_all_sent_in_order",
        ],
    ),
    (
        "the page infers its state from other messages",
        &["output_behind_a_turn_leaves_the_page_idle_and_the_mode_is_the_agents"],
    ),
    (
        "a message is kept for an agent that cannot come",
        &[
            "an_agent_that_is_missing_refuses_messages_at_once",
            "an_agent_that_is_missing_ends_the_call_and_runs_nothing_later",
            "three_ends_soon_after_the_start_hand_messages_back",
        ],
    ),
    (
        "one malformed entry of agents makes the CLI drop all",
        &["a_field_for_which_the_agent_would_drop_all_agents_is_named"],
    ),
    (
        "to-dos are not seen",
        &[
            "to_dos_are_a_list_and_tasks_a_tree_that_can_be_stopped",
            "to_dos_of_the_task_tools_are_told_one_by_one",
        ],
    ),
    (
        "a model that hangs, hangs",
        &[
            "a_turn_over_its_limit_is_interrupted_and_the_next_one_runs",
            "an_agent_that_does_not_heed_the_interrupt_is_stopped",
        ],
    ),
    (
        "after a restart of the server the page shows the old conversation above a new one",
        &["new_conversation_begins_and_the_last_one_goes_on_after_a_restart"],
    ),
    (
        "a page that was left keeps the slot",
        &[
            "page_that_was_left_gives_its_slot_up_and_takes_it_back",
            "page_from_the_back_forward_cache_catches_up",
        ],
    ),
    (
        "a restart for the configuration cuts a turn, or a message that the agent has taken",
        &[
            "a_restart_for_the_configuration_waits_for_the_running_turn",
            "a_restart_for_the_configuration_waits_for_what_the_agent_has_taken",
        ],
    ),
    (
        "a client that is refused has replaced the configuration",
        &[
            "a_client_that_is_refused_changes_nothing",
            "a_client_that_is_refused_changes_no_configuration",
            "a_call_that_finds_the_place_taken_changes_nothing",
        ],
    ),
    (
        "a connection that has died is given the slot",
        &["a_waiting_connection_that_has_died_does_not_keep_the_slot_from_a_live_one"],
    ),
    (
        "SIGTERM and SIGHUP leave the turn and the sandbox behind",
        &[
            "sigterm_and_sighup_interrupt_the_turn_as_ctrl_c_does",
            "sigterm_and_sighup_interrupt_the_turn_and_leave",
            "each_signal_at_each_stage_leaves_no_sandbox",
        ],
    ),
    (
        "a client comes back to a server that has lost its configuration",
        &["a_restarted_server_is_told_the_configuration_again_and_another_connection_is_not"],
    ),
    (
        "another model drops a conversation that was resumed",
        &["what_a_configuration_does_not_say_any_more_changes_no_conversation"],
    ),
    (
        "equal configurations restart the agent; a takeover, a shutdown, a slow end or a bad level of the log is told wrongly or not at all",
        &[
            "an_equal_configuration_in_another_order_restarts_nothing",
            "each_close_code_means_what_it_says",
            "a_shutdown_hands_back_what_waits",
            "an_agent_that_does_not_make_way_for_the_next_one_is_told_of",
            "a_word_that_is_no_level_turns_nothing_off",
        ],
    ),
    (
        "any takeover= takes over; an installed agent is called missing; ids of answers are the relay's; few descriptors; a flag that is not named; dropped lines that are not counted",
        &[
            "the_query_is_parsed",
            "a_cli_that_is_installed_later_is_not_called_missing",
            "a_new_conversation_is_begun_by_a_control_request",
            "few_descriptors_serve_more_than_one_connection",
            "a_bad_value_names_its_flag_or_variable",
            "dropped_lines_are_counted_although_no_line_follows",
        ],
    ),
    ("a probe outlives the server", &["nothing_that_is_asked_outlives_a_server_that_is_killed"]),
];

/// The names of the functions below a directory.
fn functions(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory of the workspace") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).expect("source");
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split_once('('));
            found.extend(names.map(|(name, _)| name.to_owned()));
        }
    }
}

#[test]
fn every_fault_has_the_tests_that_are_named_for_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut found = BTreeSet::new();
    for crate_ in ["protocol", "listen", "server", "client", "cli"] {
        for part in ["src", "tests"] {
            let directory = root.join(crate_).join(part);
            if directory.exists() {
                functions(&directory, &mut found);
            }
        }
    }
    for (fault, tests) in FAULTS {
        for test in *tests {
            assert!(found.contains(*test), "{fault}: there is no test {test}");
        }
    }
}
