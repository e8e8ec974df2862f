//! Attempts against the kernel, by the server's user as root and as an
//! ordinary user.

use super::*;

/// The user without rights.
const NOBODY: u32 = 65534;

/// Attempts, each a name and a command that ends with success when it gets
/// out. An attempt that succeeds must not harm the machine of the tests: files
/// of the kernel, the clock and the host name are set to what they are already.
const ATTEMPTS: &[(&str, &str)] = &[
    ("mount", "mount -t tmpfs none /mnt && umount /mnt"),
    ("remount-usr", "mount -o remount,rw,bind /usr"),
    ("remount-workspace-parent", "mount -o remount,rw /"),
    ("remount-proc-sys", "mount -o remount,rw,bind /proc/sys"),
    ("unmount-proc-sys", "umount -l /proc/sys"),
    ("core-pattern", "rewrite /proc/sys/kernel/core_pattern"),
    ("randomize-va-space", "rewrite /proc/sys/kernel/randomize_va_space"),
    ("modprobe-path", "rewrite /proc/sys/kernel/modprobe"),
    ("user-namespaces", "rewrite /proc/sys/user/max_user_namespaces"),
    ("sysrq", ": >> /proc/sysrq-trigger"),
    (
        "new-proc",
        "unshare -Urpf sh -c 'mount -t proc proc /proc && : >> /proc/sys/kernel/core_pattern'",
    ),
    ("usr-in-namespace", "unshare -Urm sh -c 'mount -o remount,rw,bind /usr'"),
    ("usr-written", "touch /usr/planted && rm /usr/planted"),
    ("root-of-the-first-process", "ls /proc/1/root/var/lib"),
    (
        "namespace-of-the-first-process",
        "nsenter -t 1 -m -U sh -c 'touch /usr/planted && rm /usr/planted'",
    ),
    ("block-device", "mknod /tmp/disk b 8 0 && rm /tmp/disk"),
    ("memory-device", "mknod /tmp/memory c 1 1 && rm /tmp/memory"),
    ("devices", "ls /dev/sda /dev/vda /dev/mem /dev/kmsg /dev/kvm /dev/fuse"),
    ("setuid", "grep NoNewPrivs:.0 /proc/self/status"),
    ("capabilities", "grep 'Cap\\(Eff\\|Prm\\|Bnd\\|Amb\\):.*[1-9a-f]' /proc/self/status"),
    ("chroot", "chroot / true"),
    ("host-name", "hostname \"$(hostname)\""),
    ("clock", "date -s @$(date +%s)"),
    (
        "sockets-of-the-host",
        "ls /run/docker.sock /var/run/docker.sock /run/dbus /run/user /run/systemd",
    ),
    ("cgroups", "ls /sys/fs/cgroup"),
    ("keyring", "call 250 0 -3 0"),
    ("add-key", "perl -e 'exit(syscall(248, \"user\", \"a\", \"b\", 1, -3) < 0)'"),
    ("ptrace", "call 101 16 1 0 0"),
    ("descriptor-of-another", "call 438 3 0 0"),
    ("bpf", "call 321 0 0 0"),
    ("shadow", "cat /etc/shadow /etc/gshadow"),
];

/// The attempts that succeed inside, and what they said.
async fn succeeded(cell: &Cell) -> (Vec<String>, String) {
    let mut script = "rewrite() { value=$(cat $1) && echo \"$value\" > $1; }\n\
         call() { perl -e 'exit(syscall(map { $_ + 0 } @ARGV) < 0)' -- \"$@\"; }\n"
        .to_owned();
    for (name, command) in ATTEMPTS {
        script.push_str(&format!(
            "if {command}; then echo 'open {name}'; else echo 'closed {name}'; fi\n"
        ));
    }
    let said = cell.run(&script).await;
    let closed = said.lines().filter(|line| line.starts_with("closed ")).count();
    let open: Vec<_> =
        said.lines().filter_map(|line| line.strip_prefix("open ")).map(str::to_owned).collect();
    assert_eq!(closed + open.len(), ATTEMPTS.len(), "{said}");
    (open, said)
}

#[tokio::test]
async fn the_user_of_the_tests_does_not_get_out() {
    let cell = Cell::start();
    let (open, said) = succeeded(&cell).await;
    assert!(open.is_empty(), "{open:?}: {said}");
    cell.relay.stop();
}

#[tokio::test]
async fn an_ordinary_user_does_not_get_out() {
    if !rustix::process::geteuid().is_root() {
        // The test above has done it.
        return;
    }
    let cell = Cell::of_nobody();
    let (open, said) = succeeded(&cell).await;
    assert!(open.is_empty(), "{open:?}: {said}");
    cell.relay.stop();
}

#[tokio::test]
async fn system_calls_are_filtered() {
    let cell = Cell::start();
    let said = cell.run("grep Seccomp: /proc/self/status").await;
    assert!(said.contains("Seccomp:\t2"), "{said}");
    cell.relay.stop();
}

impl Cell {
    /// A server that runs as a user without rights.
    fn of_nobody() -> Self {
        let env = TestEnv::new();
        let script = env.file("agent-of-shell");
        write_script(&script, "exec cat 3>&1 > /dev/null");
        env.give_to_nobody();
        let launch = Launch::new(&env)
            .user(NOBODY)
            .argument("--claude-path")
            .argument(&script)
            .argument("--sandbox=bwrap")
            .argument(format!("--auth-token={TOKEN}"));
        Self { relay: launch.start(), env, script }
    }
}
