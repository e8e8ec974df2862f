//! Definition of a template: a base, steps, a start command and its ready
//! check. Nothing is read or sent here.

use std::path::PathBuf;

use crate::context::FileSet;
use crate::quote::quote;

/// Image of a template without a base of its own.
pub const DEFAULT_IMAGE: &str = "e2bdev/base";
/// Default user of the steps and of the start command. The server creates it
/// before the first step, with `sudo` and without a password.
pub const DEFAULT_USER: &str = "user";

/// Base of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A Docker image. It has to be Debian, Ubuntu, Fedora, Alpine or a
    /// relative, by the `ID` in its `/etc/os-release`.
    Image(String),
    /// Another template.
    Template(String),
}

/// Definition of a template. Steps run in order, as the current user and in the
/// current directory, each in a login shell: `bash -l -c`.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) base: Base,
    pub(crate) steps: Vec<Step>,
    pub(crate) start: Option<String>,
    pub(crate) ready: Option<String>,
    /// The build uses no cache at all.
    pub(crate) force: bool,
    force_next: bool,
}

/// One step of a template.
#[derive(Clone, Debug)]
pub struct Step {
    pub(crate) action: Action,
    pub(crate) force: bool,
}

/// Action of a step.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Run { command: String, user: Option<String> },
    Copy(Copy),
    Env(Vec<(String, String)>),
    Workdir(String),
    User(String),
}

/// Files of a COPY step.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The source as written: part of the digest, and the path inside the
    /// archive for the server.
    pub source: String,
    /// The destination. With a slash at its end, a directory for the source.
    /// The contents of a directory are merged into it.
    pub dest: String,
    /// The owner, `user[:group]`. Default: the current user.
    pub owner: Option<String>,
    /// Permissions for all files. Default: unchanged.
    pub mode: Option<u32>,
    /// The origin of the files.
    pub from: CopyFrom,
}

/// Origin of the files of a COPY step.
#[derive(Clone, Debug)]
pub enum CopyFrom {
    /// This directory, except the files that its `.dockerignore` excludes.
    Context(PathBuf),
    /// Exactly these files, whose names all begin with the step's source.
    Files(FileSet),
}

impl Template {
    /// Returns a template on a Docker image.
    #[must_use]
    pub fn from_image(image: &str) -> Self {
        Self::on(Base::Image(image.to_owned()))
    }

    /// Returns a template on another template.
    #[must_use]
    pub fn from_template(name: &str) -> Self {
        Self::on(Base::Template(name.to_owned()))
    }

    fn on(base: Base) -> Self {
        Self { base, steps: Vec::new(), start: None, ready: None, force: false, force_next: false }
    }

    /// Turns the cache off, even for the base.
    #[must_use]
    pub fn without_cache(mut self) -> Self {
        self.force = true;
        self
    }

    /// Turns the cache off for all later steps.
    #[must_use]
    pub fn skip_cache(mut self) -> Self {
        self.force_next = true;
        self
    }

    /// Adds a step that runs a command as the current user.
    #[must_use]
    pub fn run(self, command: impl Into<String>) -> Self {
        self.step(Action::Run { command: command.into(), user: None })
    }

    /// Adds a step that runs a command as another user.
    #[must_use]
    pub fn run_as(self, user: &str, command: impl Into<String>) -> Self {
        self.step(Action::Run { command: command.into(), user: Some(user.to_owned()) })
    }

    /// Installs packages of Debian or Ubuntu, without recommended ones.
    #[must_use]
    pub fn apt_install<'a>(self, packages: impl IntoIterator<Item = &'a str>) -> Self {
        let packages: Vec<_> = packages.into_iter().map(quote).collect();
        let install = "apt-get update && DEBIAN_FRONTEND=noninteractive \
                       DEBCONF_NOWARNINGS=yes apt-get install -y --no-install-recommends";
        self.run_as("root", format!("{install} {}", packages.join(" ")))
    }

    /// Adds a step that copies files.
    #[must_use]
    pub fn copy(self, copy: Copy) -> Self {
        self.step(Action::Copy(copy))
    }

    /// Sets variables for later steps and the start command. Processes that are
    /// started in a sandbox later do not see them.
    #[must_use]
    pub fn env<'a>(self, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables: Vec<_> = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        match variables.is_empty() {
            true => self,
            false => self.step(Action::Env(variables)),
        }
    }

    /// Sets the directory of later steps and the start command.
    #[must_use]
    pub fn workdir(self, path: &str) -> Self {
        self.step(Action::Workdir(path.to_owned()))
    }

    /// Sets the user of later steps and the start command.
    #[must_use]
    pub fn user(self, name: &str) -> Self {
        self.step(Action::User(name.to_owned()))
    }

    /// Sets the command that runs once, at the end of the build. A sandbox is a
    /// copy of the machine in which it is already running: it sees no variables
    /// given at the creation of a sandbox, and random numbers drawn before the
    /// copy are the same in all sandboxes.
    #[must_use]
    pub fn start(mut self, command: impl Into<String>) -> Self {
        self.start = Some(command.into());
        self
    }

    /// Sets the command that succeeds as soon as the start command is ready.
    #[must_use]
    pub fn ready(mut self, command: impl Into<String>) -> Self {
        self.ready = Some(command.into());
        self
    }

    /// Returns its steps.
    #[must_use]
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn step(mut self, action: Action) -> Self {
        self.steps.push(Step { action, force: self.force_next });
        self
    }
}

impl Copy {
    /// Returns a step that copies files of a context directory, with the
    /// current user as their owner and with their own permissions.
    #[must_use]
    pub fn new(context: impl Into<PathBuf>, source: &str, dest: &str) -> Self {
        Self {
            source: source.to_owned(),
            dest: dest.to_owned(),
            owner: None,
            mode: None,
            from: CopyFrom::Context(context.into()),
        }
    }
}

impl Step {
    /// Describes the step in one line, as in a Dockerfile.
    #[must_use]
    pub fn summary(&self) -> String {
        match &self.action {
            Action::Run { command, user: None } => format!("RUN {command}"),
            Action::Run { command, user: Some(user) } => format!("RUN as {user}: {command}"),
            Action::Copy(copy) => format!("COPY {} {}", copy.source, copy.dest),
            Action::Env(variables) => {
                let pairs =
                    variables.iter().map(|(name, value)| format!("{name}={}", quote(value)));
                format!("ENV {}", pairs.collect::<Vec<_>>().join(" "))
            }
            Action::Workdir(path) => format!("WORKDIR {path}"),
            Action::User(name) => format!("USER {name}"),
        }
    }
}

/// Returns a command that succeeds when a process listens on a port.
#[must_use]
pub fn port_is_open(port: u16) -> String {
    format!("[ -n \"$(ss -Htuln sport = :{port})\" ]")
}

/// Returns a command that succeeds when an address answers with this status.
#[must_use]
pub fn url_answers(url: &str, status: u16) -> String {
    format!("curl -s -o /dev/null -w \"%{{http_code}}\" {} | grep -q \"{status}\"", quote(url))
}
