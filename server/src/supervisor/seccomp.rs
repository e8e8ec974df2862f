//! System calls that nothing in the sandbox may make.
//!
//! A mount or a process namespace says nothing about the kernel's keyrings: the
//! session keyring of the server's user is inherited, and whoever has its keys
//! can read them. Tracing would let a tool speak in the agent's name.
//!
//! bubblewrap takes the filter from a descriptor. [`install`] makes one in the
//! process that becomes bubblewrap, so that it need not be passed along.

use std::ffi::OsString;
use std::io::{self, Seek as _, Write as _};
use std::os::fd::IntoRawFd as _;

use claude_relay_system as system;

/// The first argument of a command that gets the filter; its value is
/// [`DESCRIPTOR`], which is replaced by a number.
const FLAG: &str = "--seccomp";

/// See [`FLAG`].
const DESCRIPTOR: &str = "descriptor-of-the-relay";

/// The system's name for this kind of machine, and the numbers of `add_key`,
/// `request_key`, `keyctl`, `ptrace`, `process_vm_readv`, `process_vm_writev`
/// and `pidfd_getfd`.
#[cfg(target_arch = "x86_64")]
const MACHINE: Option<(u32, [u32; 7])> = Some((0xC000_003E, [248, 249, 250, 101, 310, 311, 438]));
/// See above.
#[cfg(target_arch = "aarch64")]
const MACHINE: Option<(u32, [u32; 7])> = Some((0xC000_00B7, [217, 218, 219, 117, 270, 271, 438]));
/// There is no filter for other machines.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const MACHINE: Option<(u32, [u32; 7])> = None;

/// From here on stand the calls of x86-64's second interface.
const SECOND_INTERFACE: u32 = 0x4000_0000;

const LOAD: u16 = 0x20;
const JUMP_EQUAL: u16 = 0x15;
const JUMP_AT_LEAST: u16 = 0x35;
const RETURN: u16 = 0x06;
const ALLOW: u32 = 0x7FFF_0000;
/// The call fails with `EPERM`.
const DENY: u32 = 0x0005_0001;

/// Returns the arguments by which bubblewrap is to get the filter. They must
/// come first.
#[must_use]
pub fn arguments() -> Vec<OsString> {
    match MACHINE {
        Some(_) => vec![FLAG.into(), DESCRIPTOR.into()],
        None => Vec::new(),
    }
}

/// Replaces what [`arguments`] gave by a descriptor that survives `exec`.
///
/// # Errors
///
/// When no memory file can be made.
pub(super) fn install(args: &mut [OsString]) -> io::Result<()> {
    let [flag, descriptor, ..] = args else { return Ok(()) };
    if flag != FLAG || descriptor != DESCRIPTOR {
        return Ok(());
    }
    let mut file = system::memory_file("relay-seccomp")?;
    file.write_all(&filter())?;
    file.rewind()?;
    *descriptor = file.into_raw_fd().to_string().into();
    Ok(())
}

/// The filter as the kernel reads it. Programs for another kind of machine are
/// refused every call: their numbers mean something else.
fn filter() -> Vec<u8> {
    let Some((machine, denied)) = MACHINE else { return Vec::new() };
    // Instructions between the one at `from` and the last, which denies.
    let last = denied.len() + 5;
    let to_last = |from: usize| u8::try_from(last - from - 1).unwrap_or(u8::MAX);
    let mut program = vec![
        (LOAD, 0, 0, 4),
        (JUMP_EQUAL, 0, to_last(1), machine),
        (LOAD, 0, 0, 0),
        (JUMP_AT_LEAST, to_last(3), 0, SECOND_INTERFACE),
    ];
    for call in denied {
        program.push((JUMP_EQUAL, to_last(program.len()), 0, call));
    }
    program.extend([(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, DENY)]);
    let bytes = |(code, yes, no, value): (u16, u8, u8, u32)| {
        let mut bytes = code.to_ne_bytes().to_vec();
        bytes.extend([yes, no]);
        bytes.extend(value.to_ne_bytes());
        bytes
    };
    program.into_iter().flat_map(bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_jump_ends_at_the_refusal() {
        let filter = filter();
        let count = filter.len() / 8;
        for (at, instruction) in filter.chunks(8).enumerate() {
            let code = u16::from_ne_bytes([instruction[0], instruction[1]]);
            for jump in [instruction[2], instruction[3]] {
                assert!(jump == 0 || at + 1 + usize::from(jump) == count - 1, "{at}");
            }
            assert!(at + 2 < count || code == RETURN);
        }
    }

    #[test]
    fn other_arguments_stay_as_they_are() {
        let mut args: Vec<OsString> = vec!["--other".into(), FLAG.into(), DESCRIPTOR.into()];
        let before = args.clone();
        install(&mut args).unwrap();
        assert_eq!(args, before);
    }
}
