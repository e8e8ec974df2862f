//! Commands inside a root directory, in namespaces made by bubblewrap.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use claude_relay_protocol::text;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

/// Certificates of this machine: a network may have its own certificate
/// authority, without which downloads fail.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Path of the certificates in the root.
const CERTIFICATES_INSIDE: &str = "/run/rehearsal/certificates.crt";
/// Variables that tell programs the path.
const CERTIFICATE_VARIABLES: [&str; 4] =
    ["SSL_CERT_FILE", "CURL_CA_BUNDLE", "NODE_EXTRA_CA_CERTS", "CARGO_HTTP_CAINFO"];
/// PATH before a login shell sets its own.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest line that is reported.
const MAX_LINE_CHARS: usize = 2000;

/// A root directory to run commands in. The commands end with this process.
#[derive(Clone, Debug)]
pub(super) struct Jail {
    root: PathBuf,
    binds: Vec<(PathBuf, String)>,
    network: bool,
}

impl Jail {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), binds: Vec::new(), network: true }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Mounts a file of this machine read-only in the root.
    pub(super) fn bind(&mut self, file: &Path, inside: &str) {
        self.binds.push((file.to_owned(), inside.to_owned()));
    }

    /// Runs the commands in a network namespace with only a loopback interface.
    pub(super) fn without_network(mut self) -> Self {
        self.network = false;
        self
    }

    /// Runs a command in a login shell and reports its output.
    pub(super) async fn run(
        &self,
        user: &str,
        cwd: Option<&str>,
        variables: &[(String, String)],
        command: &str,
        timeout: Duration,
        tell: &mut (dyn FnMut(&str) + Send),
    ) -> Result<(), String> {
        let mut bwrap = Command::new("bwrap");
        bwrap.arg("--bind").arg(&self.root).arg("/");
        bwrap.args([
            "--dev", "/dev", "--proc", "/proc", "--perms", "1777", "--tmpfs", "/tmp", "--tmpfs",
            "/run",
        ]);
        // Otherwise bwrap would create it accessible to root only.
        bwrap.args(["--dir", super::STEP_FILES]);
        bwrap.args(["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]);
        // Steps run as root: apt changes owners and switches users.
        bwrap.args(["--cap-add", "ALL", "--clearenv"]);
        if !self.network {
            bwrap.arg("--unshare-net");
        }
        if self.network {
            bwrap.args(["--ro-bind-try", "/etc/resolv.conf", "/etc/resolv.conf"]);
            if Path::new(CERTIFICATES).is_file() {
                bwrap.args(["--ro-bind", CERTIFICATES, CERTIFICATES_INSIDE]);
                for name in CERTIFICATE_VARIABLES {
                    bwrap.args(["--setenv", name, CERTIFICATES_INSIDE]);
                }
            }
        }
        for (file, inside) in &self.binds {
            bwrap.arg("--ro-bind").arg(file).arg(inside);
        }
        let home = home(user);
        for (name, value) in [("PATH", PATH), ("HOME", &home), ("USER", user), ("LOGNAME", user)] {
            bwrap.args(["--setenv", name, value]);
        }
        for (name, value) in variables {
            bwrap.args(["--setenv", name, value]);
        }
        bwrap.args(["--chdir", cwd.unwrap_or(&home), "--"]);
        // Both outputs in one pipe, to keep their order.
        bwrap.args(["/bin/sh", "-c", "exec 2>&1 \"$@\"", "sh"]);
        bwrap.args(["setpriv", "--reuid", user, "--regid", user, "--init-groups"]);
        bwrap.args(["/bin/bash", "-l", "-c", command]);
        lines(&mut bwrap, timeout, tell).await
    }
}

/// Returns the home directory of a user in the root.
pub(super) fn home(user: &str) -> String {
    match user {
        "root" => "/root".to_owned(),
        user => format!("/home/{user}"),
    }
}

/// Runs a command to its end and reports its output line by line.
pub(super) async fn lines(
    command: &mut Command,
    timeout: Duration,
    tell: &mut (dyn FnMut(&str) + Send),
) -> Result<(), String> {
    let name = command.as_std().get_program().to_string_lossy().into_owned();
    let spawned = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn();
    let mut child = spawned.map_err(|error| format!("{name} cannot be started: {error}"))?;
    let Some(output) = child.stdout.take() else {
        return Err(format!("{name} has no output"));
    };
    let run = async {
        let mut output = BufReader::new(output).split(b'\n');
        while let Ok(Some(line)) = output.next_segment().await {
            tell(text::head(&String::from_utf8_lossy(&line), MAX_LINE_CHARS));
        }
        child.wait().await
    };
    match tokio::time::timeout(timeout, run).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(status.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it did not end within {timeout:?}")),
    }
}
