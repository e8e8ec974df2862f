use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Stdio};

use super::*;

/// Starts a program in a process group of its own.
#[expect(clippy::disallowed_methods, reason = "a process is what is tested")]
pub(super) fn in_group(command: &[&str]) -> std::process::Child {
    Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap()
}

#[test]
fn no_signal_is_sent_once_a_child_is_reaped() {
    // The number is another's by then, which this one stands for.
    let mut other = in_group(&["sleep", "1000"]);
    let child = Child::new(Pid::from_child(&other)).unwrap();
    *child.is_reaped.lock().unwrap() = true;
    child.signal(Signal::KILL);
    *child.is_reaped.lock().unwrap() = false;
    child.signal(Signal::TERM);
    assert_eq!(other.wait().unwrap().signal(), Some(15));
}

#[test]
fn the_own_program_has_a_path() {
    let own = executable(Path::new(OWN_PROGRAM)).unwrap();
    assert_eq!(own.into_owned(), std::env::current_exe().unwrap());
    assert_eq!(executable(Path::new("/bin/sh")).unwrap(), Path::new("/bin/sh"));
}

#[test]
fn input_ends_the_wait_for_the_parent() {
    let (input, output) = io::pipe().unwrap();
    drop(output);
    assert_eq!(Parent::watch().unwrap().wait(&input).unwrap(), Woken::Input);
    let (input, _output) = io::pipe().unwrap();
    assert_eq!(Parent(None).wait(&input).unwrap(), Woken::Parent, "another parent than before");
}

#[test]
fn a_received_descriptor_is_closed_at_exec() {
    let (input, _output) = io::pipe().unwrap();
    fcntl_setfd(&input, FdFlags::empty()).unwrap();
    close_on_exec(&input).unwrap();
    assert_eq!(rustix::io::fcntl_getfd(&input).unwrap(), FdFlags::CLOEXEC);
}

#[test]
fn no_file_is_opened_where_nothing_confines_it() {
    use crate::Links;
    use rustix::fs::OFlags;
    use rustix::io::Errno;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("file"), "text").unwrap();
    assert_eq!(open_directory(directory.path()).unwrap_err(), Errno::NOSYS);
    let opened = File::open(directory.path()).unwrap();
    let file = open_beneath(&opened, Path::new("file"), OFlags::RDONLY, Links::Followed);
    assert_eq!(file.unwrap_err(), Errno::NOSYS);
    assert_eq!(path_of(&opened.into()).unwrap_err(), Errno::NOSYS);
    assert_eq!(Watches::new().unwrap_err(), Errno::NOSYS);
}
