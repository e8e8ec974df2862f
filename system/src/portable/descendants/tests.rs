use std::time::Instant;

use super::super::end_group;
use super::super::tests::in_group;
use super::*;

/// Time for what is waited for.
const DEADLINE: Duration = Duration::from_secs(60);

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let until = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

fn process(pid: i32, parent: i32, group: i32) -> Row {
    Row { pid, parent, group }
}

#[test]
fn a_line_of_ps_is_a_process_that_has_not_ended() {
    assert_eq!(row("  12     1    11 Ss"), Some(process(12, 1, 11)));
    assert_eq!(row("  12     1    11 Z+"), None);
    assert_eq!(row("  PID  PPID  PGID STAT"), None);
}

#[test]
fn descendants_are_those_below_in_the_group_and_known_before() {
    let own = getpid().as_raw_pid();
    let [child, below_child, of_group, of_known, other] = [1, 2, 3, 4, 5].map(|n| own + n);
    let known = own + 6;
    let all = [
        process(own, 1, own),
        process(below_child, child, 7),
        process(child, own, child),
        process(of_group, 1, own),
        process(known, 1, known),
        process(of_known, known, 8),
        process(other, 1, other),
    ];
    let found = |group, before: &[i32]| below(&all, group, &before.iter().copied().collect());
    assert_eq!(found(None, &[]), HashSet::from([child, below_child]));
    assert_eq!(found(Some(own), &[]), HashSet::from([child, below_child, of_group]));
    // One that has ended is forgotten, and none comes back by its number.
    assert_eq!(
        found(None, &[known, own + 9]),
        HashSet::from([child, below_child, known, of_known])
    );
}

#[test]
fn an_orphan_that_was_seen_is_still_a_descendant() {
    let known = Mutex::new(Known::default());
    let mut parent = in_group(&["/bin/sh", "-c", "sleep 1000 & echo $!; sleep 1000"]);
    let mut line = String::new();
    let mut stdout = std::io::BufReader::new(parent.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut stdout, &mut line).unwrap();
    let orphan: i32 = line.trim().parse().unwrap();
    assert!(look(&known).contains(&orphan));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until("its parent is another", || {
        processes().unwrap().iter().any(|row| row.pid == orphan && row.parent != parent.id() as i32)
    });
    assert!(look(&known).contains(&orphan), "it was seen before");
    end_group(parent.id());
    wait_until("the group has ended", || !look(&known).contains(&orphan));
}
