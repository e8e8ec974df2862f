//! Bubblewrap: mount and process namespaces around the agent.
//!
//! The wrapper is the agent's parent outside the sandbox and returns its exit
//! code. The end of stdin and the interrupt request reach the agent as usual,
//! so a graceful stop works. A signal reaches only the wrapper, whose end kills
//! everything inside at once: SIGTERM acts like SIGKILL.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::MountPlan;
use super::root::Hidden;
use crate::isolation::probe;
use crate::process::ExitReason;
use crate::supervisor::Supervisor;
use crate::supervisor::seccomp;

/// Directories of the system, mounted read-only. Missing ones are skipped.
pub const SYSTEM: [&str; 13] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/etc",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/run/current-system",
    "/snap",
];

/// Maximum time for the probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The namespaces of every run, the trial included. Started by root,
/// bubblewrap would leave out the user namespace and keep every capability.
const NAMESPACES: [&str; 6] =
    ["--unshare-user", "--unshare-all", "--share-net", "--die-with-parent", "--cap-drop", "ALL"];

/// More of them when the server runs as root: no user namespace inside, in
/// which it would have capabilities again.
const NAMESPACES_OF_ROOT: [&str; 1] = ["--disable-userns"];

/// Settings of the kernel and switches of the machine, which root may write
/// without any capability because it owns them.
const KERNEL: [&str; 8] = [
    "/proc/sys",
    "/proc/sysrq-trigger",
    "/proc/irq",
    "/proc/bus",
    "/proc/fs",
    "/proc/acpi",
    "/proc/scsi",
    "/proc/mtrr",
];

/// The arguments of every run, the trial included.
fn namespaces(is_root: bool) -> Vec<OsString> {
    let of_root: &[&str] = if is_root { &NAMESPACES_OF_ROOT } else { &[] };
    let mut args = seccomp::arguments();
    args.extend(NAMESPACES.iter().chain(of_root).map(OsString::from));
    args
}

/// Returns the arguments before the program. Later mounts cover earlier ones.
#[must_use]
pub fn arguments(plan: &MountPlan) -> Vec<OsString> {
    let mut args = Args(namespaces(plan.is_root));
    for directory in SYSTEM {
        args.mount("--ro-bind-try", directory.as_ref());
    }
    for hidden in &plan.hidden {
        match hidden {
            Hidden::File(path) => {
                args.0.extend(["--ro-bind".into(), "/dev/null".into(), path.into()]);
            }
            Hidden::Directory(path) => args.private("--tmpfs", path),
        }
    }
    args.private("--proc", "/proc".as_ref());
    for path in KERNEL {
        args.mount("--ro-bind-try", path.as_ref());
    }
    args.private("--dev", "/dev".as_ref());
    args.private("--tmpfs", "/tmp".as_ref());
    args.private("--tmpfs", "/var/tmp".as_ref());
    if let Some(home) = &plan.home {
        args.private("--tmpfs", home);
    }
    args.mount(if plan.writable { "--bind" } else { "--ro-bind" }, &plan.workspace);
    for path in &plan.guarded {
        args.mount("--ro-bind", path);
    }
    if let Some(state) = &plan.state {
        args.private("--tmpfs", state);
        for directory in plan.kept.writable {
            args.mount("--bind", &state.join(directory));
        }
        if plan.shows_login {
            args.mount("--bind-try", &state.join(plan.kept.login));
        }
        for entry in plan.kept.readable {
            args.mount("--ro-bind-try", &state.join(entry));
        }
    }
    if let Some(file) = &plan.user_file {
        args.mount("--ro-bind-try", file);
    }
    for path in &plan.readable {
        args.mount("--ro-bind", path);
    }
    args.private("--remount-ro", "/".as_ref());
    args.private("--chdir", &plan.cwd);
    args.0
}

struct Args(Vec<OsString>);

impl Args {
    /// Mounts a path of the host at the same path inside.
    fn mount(&mut self, option: &str, path: &Path) {
        self.0.extend([option.into(), path.into(), path.into()]);
    }

    /// Adds a path that exists only inside.
    fn private(&mut self, option: &str, path: &Path) {
        self.0.extend([option.into(), path.into()]);
    }
}

/// Checks that this bwrap can create a sandbox. The error holds the reason and
/// a remedy.
pub(super) async fn probe(bwrap: &Path, supervisor: &Supervisor) -> Result<(), String> {
    let mut args = namespaces(rustix::process::geteuid().is_root());
    args.extend(["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"].map(OsString::from));
    for path in KERNEL {
        args.extend(["--ro-bind-try", path, path].map(OsString::from));
    }
    args.extend(["--tmpfs", "/tmp", "--"].map(OsString::from));
    // The only program that is known to exist.
    args.extend([bwrap.into(), "--version".into()]);
    let command = probe::command(bwrap.into(), args, Vec::new(), supervisor);
    let outcome = probe::run(command, PROBE_TIMEOUT).await;
    match outcome {
        Ok(outcome) if outcome.reason == ExitReason::Exited(0) => Ok(()),
        Ok(outcome) => Err(explain(outcome.stderr.trim(), &Kernel::read())),
        Err(error) => Err(error.to_string()),
    }
}

/// Kernel settings that forbid user namespaces.
#[derive(Debug, Default)]
struct Kernel {
    /// Ubuntu since 23.10.
    apparmor_restricts: bool,
    /// Debian before 11, and hardened kernels.
    clone_forbidden: bool,
    /// Any Linux.
    none_allowed: bool,
}

impl Kernel {
    fn read() -> Self {
        let is = |file: &str, value: &str| {
            fs::read_to_string(PathBuf::from("/proc/sys").join(file))
                .is_ok_and(|text| text.trim() == value)
        };
        Self {
            apparmor_restricts: is("kernel/apparmor_restrict_unprivileged_userns", "1"),
            clone_forbidden: is("kernel/unprivileged_userns_clone", "0"),
            none_allowed: is("user/max_user_namespaces", "0"),
        }
    }
}

/// Explains an error message of bubblewrap on this system, with a remedy.
fn explain(message: &str, kernel: &Kernel) -> String {
    let remedy = if kernel.apparmor_restricts {
        "Ubuntu restricts unprivileged user namespaces by AppArmor: give bwrap a profile that allows `userns` (in /etc/apparmor.d/bwrap), or `sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
    } else if kernel.clone_forbidden {
        "this kernel forbids unprivileged user namespaces: `sysctl -w kernel.unprivileged_userns_clone=1`"
    } else if kernel.none_allowed {
        "this system allows no user namespaces: `sysctl -w user.max_user_namespaces=15000`"
    } else if message.contains("Unknown option") {
        "this bubblewrap is too old to keep root inside: install 0.8 or newer, or start the server as another user"
    } else if message.contains("mount proc") {
        "the surrounding container does not let a new /proc be mounted: run the server outside of it, or let the container be the sandbox with --sandbox none"
    } else {
        "a container or a security module may forbid it: run the server outside of it, or choose --sandbox none"
    };
    match message {
        "" => remedy.to_owned(),
        message => format!("{remedy} (its message: {message:.500})"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::state::CLAUDE;
    use super::*;

    fn plan() -> MountPlan {
        MountPlan {
            program: "/home/u/.local/bin/claude".into(),
            cwd: "/home/u/agent-workspace/sub".into(),
            workspace: "/home/u/agent-workspace".into(),
            writable: true,
            home: Some("/home/u".into()),
            guarded: vec!["/home/u/agent-workspace/.git".into()],
            kept: &CLAUDE,
            shows_login: true,
            state: Some("/home/u/.claude".into()),
            user_file: Some("/home/u/.claude.json".into()),
            readable: vec!["/home/u/.local/bin".into()],
            hidden: Vec::new(),
            is_root: false,
        }
    }

    fn text(plan: &MountPlan) -> String {
        let args: Vec<_> =
            arguments(plan).iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
        args.join(" ")
    }

    fn at(text: &str, part: &str) -> usize {
        text.find(part).unwrap_or_else(|| panic!("{part} is missing in {text}"))
    }

    #[test]
    fn the_home_is_empty_and_the_workspace_is_mounted_over_it() {
        let text = text(&plan());
        at(&text, "--unshare-user --unshare-all --share-net --die-with-parent --cap-drop ALL ");
        assert!(!text.contains("--disable-userns"), "{text}");
        assert!(at(&text, "--proc /proc ") < at(&text, "--ro-bind-try /proc/sys /proc/sys "));
        let home = at(&text, "--tmpfs /home/u ");
        let workspace = at(&text, "--bind /home/u/agent-workspace /home/u/agent-workspace ");
        let git = "/home/u/agent-workspace/.git";
        assert!(workspace < at(&text, &format!("--ro-bind {git} {git} ")));
        let state = at(&text, "--tmpfs /home/u/.claude ");
        let sessions = at(&text, "--bind /home/u/.claude/projects /home/u/.claude/projects ");
        let settings = at(&text, "--ro-bind-try /home/u/.claude/settings.json ");
        let program = at(&text, "--ro-bind /home/u/.local/bin /home/u/.local/bin ");
        assert!(home < workspace && workspace < state && state < sessions && sessions < settings);
        assert!(settings < program);
        assert!(text.ends_with("--remount-ro / --chdir /home/u/agent-workspace/sub"), "{text}");
        // Neither the home nor the disk is bound as a whole.
        for whole in ["bind /home/u /home/u ", "bind / / ", "bind /tmp /tmp ", "bind /proc /proc "]
        {
            assert!(!text.contains(whole), "{whole} in {text}");
        }
    }

    #[test]
    fn nothing_is_writable_in_a_read_only_workspace() {
        let text = text(&MountPlan { writable: false, ..plan() });
        at(&text, "--ro-bind /home/u/agent-workspace /home/u/agent-workspace ");
        let writable: Vec<_> = text.split(' ').filter(|arg| *arg == "--bind").collect();
        assert_eq!(writable.len(), CLAUDE.writable.len(), "{text}");
    }

    #[test]
    fn a_login_that_is_not_used_is_not_shown() {
        let login = "--bind-try /home/u/.claude/.credentials.json ";
        at(&text(&plan()), login);
        let without = text(&MountPlan { shows_login: false, ..plan() });
        assert!(!without.contains(".credentials.json"), "{without}");
    }

    #[test]
    fn without_a_home_there_is_none() {
        let text = text(&MountPlan { home: None, state: None, user_file: None, ..plan() });
        assert!(!text.contains(".claude.json") && !text.contains("--tmpfs /home/u"), "{text}");
    }

    #[test]
    fn root_gets_no_capability_back_and_no_secret_of_the_system() {
        let hidden =
            vec![Hidden::File("/etc/shadow".into()), Hidden::Directory("/etc/ssl/private".into())];
        let text = text(&MountPlan { is_root: true, hidden, ..plan() });
        at(&text, "--disable-userns");
        let system = at(&text, "--ro-bind-try /etc /etc ");
        assert!(system < at(&text, "--ro-bind /dev/null /etc/shadow "), "{text}");
        assert!(system < at(&text, "--tmpfs /etc/ssl/private "), "{text}");
    }

    #[test]
    fn the_reason_has_a_remedy() {
        let message = "bwrap: setting up uid map: Permission denied";
        let ubuntu = Kernel { apparmor_restricts: true, ..Kernel::default() };
        let reason = explain(message, &ubuntu);
        assert!(reason.contains("Ubuntu restricts unprivileged user namespaces"), "{reason}");
        assert!(reason.contains("kernel.apparmor_restrict_unprivileged_userns=0"), "{reason}");
        assert!(reason.ends_with("(its message: bwrap: setting up uid map: Permission denied)"));
        let hardened = Kernel { clone_forbidden: true, ..Kernel::default() };
        assert!(explain("", &hardened).contains("kernel.unprivileged_userns_clone=1"));
        let none = Kernel { none_allowed: true, ..Kernel::default() };
        assert!(explain("", &none).contains("user.max_user_namespaces"));
        let container = "bwrap: Can't mount proc on /newroot/proc: Operation not permitted";
        assert!(explain(container, &Kernel::default()).contains("surrounding container"));
    }
}
