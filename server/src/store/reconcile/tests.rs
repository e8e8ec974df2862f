use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;

const ID: &str = "11111111-2222-4333-8444-555555555555";

/// A transcript on this machine, and what the store has of it.
struct Machine {
    _state: TempDir,
    folder: Folder,
    path: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let state = tempfile::tempdir().unwrap();
        let folder = Folder::open(state.path(), "-w").unwrap();
        let path = state.path().join("projects/-w");
        Self { _state: state, folder, path }
    }

    fn put(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn text(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.path.join(name)).ok()
    }

    fn conversation(&self, stored: &str) -> (Option<String>, Vec<String>) {
        missing(conversation(&self.folder, ID, stored.as_bytes()).unwrap())
    }

    fn sub_agent(&self, subpath: &str, stored: &str) -> (Option<String>, Vec<String>) {
        missing(sub_agent(&self.folder, ID, subpath, stored.as_bytes()).unwrap())
    }
}

fn missing(reconciled: Reconciled) -> (Option<String>, Vec<String>) {
    let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    (reconciled.missing.map(text), reconciled.told)
}

fn line(kind: &str, uuid: u32, content: &str) -> String {
    let parent = if uuid == 1 { "null".to_owned() } else { format!("\"{}\"", uuid - 1) };
    format!(
        "{{\"type\":\"{kind}\",\"uuid\":\"{uuid}\",\"parentUuid\":{parent},\"message\":{{\"content\":\"{content}\"}}}}\n"
    )
}

/// A turn: a question and its answer.
fn turn(number: u32) -> String {
    [line("user", 2 * number - 1, "?"), line("assistant", 2 * number, ".")].concat()
}

const DESCRIPTION: &str =
    "{\"type\":\"agent_metadata\",\"agentType\":\"helper\",\"description\":\"d\"}\n";
const DESCRIBED: &str = "{\"agentType\":\"helper\",\"description\":\"d\"}";

#[test]
fn each_side_gets_what_it_lacks_of_a_conversation() {
    let name = format!("{ID}.jsonl");
    let (one, two) = (turn(1), turn(2));
    let both = [&one[..], &two].concat();

    let machine = Machine::new();
    assert_eq!(machine.conversation(""), (None, vec![]), "nobody has anything");
    assert_eq!(machine.text(&name), None);
    assert_eq!(machine.conversation(&one), (None, vec![]));
    assert_eq!(machine.text(&name).as_ref(), Some(&one));
    assert_eq!(machine.conversation(&both), (None, vec![]));
    assert_eq!(machine.text(&name).as_ref(), Some(&both));
    assert_eq!(machine.conversation(&both), (None, vec![]));
    assert_eq!(machine.conversation(&one), (Some(two), vec![]));
    assert_eq!(machine.conversation(""), (Some(both.clone()), vec![]));
    assert_eq!(machine.text(&name).as_ref(), Some(&both), "this machine's is left alone");
}

#[test]
fn where_both_have_gone_on_the_store_s_is_taken_and_the_other_is_kept() {
    let machine = Machine::new();
    let name = format!("{ID}.jsonl");
    let (here, there) =
        ([turn(1), turn(2)].concat(), [turn(1), line("user", 3, "Elsewhere?")].concat());
    machine.put(&name, &here);
    let (missing, told) = machine.conversation(&there);
    assert_eq!(missing, None);
    assert_eq!(machine.text(&name), Some(there));
    let [differs, cut_off] = &told[..] else { panic!("{told:?}") };
    let aside = differs.split_once("kept as ").unwrap().1.split_once(' ').unwrap().0;
    assert_eq!(machine.text(aside), Some(here), "{differs}");
    assert!(cut_off.contains("ends in the middle of a turn"), "{cut_off}");
}

#[test]
fn lines_that_cannot_be_read_do_not_reach_the_agent() {
    let name = format!("{ID}.jsonl");
    let cut = |text: &str| format!("{}\n", &text[..text.len() / 2]);
    let stored = [turn(1), cut(&line("user", 3, "?")), turn(3)].concat();
    let read = [turn(1), turn(3)].concat();
    for here in [None, Some(turn(1)), Some([turn(1), turn(2)].concat())] {
        let machine = Machine::new();
        if let Some(here) = &here {
            machine.put(&name, here);
        }
        let (missing, told) = machine.conversation(&stored);
        assert_eq!((missing, machine.text(&name)), (None, Some(read.clone())), "{here:?}");
        let told = told.join(" ");
        assert!(told.contains("left out: 1") && told.contains("one that is missing: 1"), "{told}");
    }
}

#[test]
fn a_machine_that_has_all_of_it_keeps_what_the_store_has_lost() {
    let machine = Machine::new();
    let name = format!("{ID}.jsonl");
    let all = [turn(1), turn(2), turn(3)].concat();
    machine.put(&name, &all);
    let (missing, told) = machine.conversation(&[turn(1), turn(3)].concat());
    assert_eq!((missing, machine.text(&name)), (None, Some(all)));
    let [told] = &told[..] else { panic!("{told:?}") };
    assert!(told.contains("The store lacks a part of the conversation"), "{told}");
}

#[test]
fn a_turn_that_was_cut_off_is_told_where_its_beginning_comes_from_the_store() {
    let stored = [turn(1), line("user", 3, "?")].concat();
    let machine = Machine::new();
    let (_, told) = machine.conversation(&stored);
    assert!(told.join(" ").contains("ends in the middle of a turn"), "{told:?}");
    // The machine that has it already knows.
    assert_eq!(machine.conversation(&stored), (None, vec![]));
}

#[test]
fn a_sub_agent_comes_with_what_describes_it() {
    for subpath in ["subagents/agent-1", "subagents/deep/er/agent-1"] {
        let machine = Machine::new();
        let (one, two) = (turn(1), turn(2));
        let stored = [DESCRIPTION, &one, DESCRIPTION, &two].concat();
        assert_eq!(machine.sub_agent(subpath, &stored), (None, vec![]));
        let file = |end: &str| machine.text(&format!("{ID}/{subpath}{end}"));
        assert_eq!(file(".jsonl"), Some([one, two].concat()));
        assert_eq!(file(".meta.json").as_deref(), Some(DESCRIBED));
        assert_eq!(machine.sub_agent(subpath, &stored), (None, vec![]), "all is there");
    }
}

#[test]
fn a_sub_agent_of_this_machine_goes_to_the_store_with_what_describes_it() {
    const SUBPATH: &str = "subagents/agent-1";
    let machine = Machine::new();
    let (one, two) = (turn(1), turn(2));
    machine.put(&format!("{ID}/{SUBPATH}.jsonl"), &[&one[..], &two].concat());
    assert_eq!(machine.sub_agent(SUBPATH, &one), (Some(two.clone()), vec![]));
    machine.put(&format!("{ID}/{SUBPATH}.meta.json"), DESCRIBED);
    assert_eq!(machine.sub_agent(SUBPATH, &one), (Some([&two, DESCRIPTION].concat()), vec![]));
    let stored = [DESCRIPTION, &one].concat();
    assert_eq!(machine.sub_agent(SUBPATH, &stored), (Some(two), vec![]));
}

#[test]
fn a_description_that_was_not_written_whole_is_none() {
    const SUBPATH: &str = "subagents/agent-1";
    for text in ["", "{\"agentType\":", "[]", "7"] {
        let machine = Machine::new();
        machine.put(&format!("{ID}/{SUBPATH}.jsonl"), &turn(1));
        machine.put(&format!("{ID}/{SUBPATH}.meta.json"), text);
        assert_eq!(machine.sub_agent(SUBPATH, ""), (Some(turn(1)), vec![]), "{text}");
    }
}
