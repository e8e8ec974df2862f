//! What a template is made of: a base, steps, a start command and how to see
//! that it is ready. A definition alone; nothing is read or sent here.

use std::path::PathBuf;

use crate::context::FileSet;
use crate::quote::quote;

/// The image of a template that names none.
pub const DEFAULT_IMAGE: &str = "e2bdev/base";
/// The user of the steps and of the start command unless told otherwise. The
/// server makes it before the first step, with `sudo` and without a password.
pub const DEFAULT_USER: &str = "user";

/// What a template is built on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// A Docker image. It has to be a Debian, Ubuntu, Fedora, Alpine or the
    /// like, by the `ID` in its `/etc/os-release`.
    Image(String),
    /// Another template.
    Template(String),
}

/// The definition of a template. Steps run in their order, as the current
/// user and in the current directory, each in a login shell: `bash -l -c`.
#[derive(Clone, Debug)]
pub struct Template {
    pub(crate) base: Base,
    pub(crate) steps: Vec<Step>,
    pub(crate) start: Option<String>,
    pub(crate) ready: Option<String>,
    /// Nothing at all comes from the cache.
    pub(crate) force: bool,
    force_next: bool,
}

/// One step of a template.
#[derive(Clone, Debug)]
pub struct Step {
    pub(crate) action: Action,
    pub(crate) force: bool,
}

/// What a step does.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Run { command: String, user: Option<String> },
    Copy(Copy),
    Env(Vec<(String, String)>),
    Workdir(String),
    User(String),
}

/// Files that a step brings along.
#[derive(Clone, Debug)]
pub struct Copy {
    /// The source as it is written: part of the digest, and for the server
    /// the path inside the archive.
    pub source: String,
    /// Where they go. With a slash at its end, into that directory. The
    /// contents of a directory are merged into it.
    pub dest: String,
    /// The owner, `user[:group]`. Default: the current user.
    pub owner: Option<String>,
    /// Permissions for all of them. Default: as they are.
    pub mode: Option<u32>,
    /// Where the files come from.
    pub from: CopyFrom,
}

/// Where the files of a COPY step come from.
#[derive(Clone, Debug)]
pub enum CopyFrom {
    /// From this directory, less what its `.dockerignore` keeps out.
    Context(PathBuf),
    /// Exactly these, whose names all begin with the step's source.
    Files(FileSet),
}

impl Template {
    /// A template on a Docker image.
    #[must_use]
    pub fn from_image(image: &str) -> Self {
        Self::on(Base::Image(image.to_owned()))
    }

    /// A template on another template.
    #[must_use]
    pub fn from_template(name: &str) -> Self {
        Self::on(Base::Template(name.to_owned()))
    }

    fn on(base: Base) -> Self {
        Self { base, steps: Vec::new(), start: None, ready: None, force: false, force_next: false }
    }

    /// Takes nothing from the cache, not even the base.
    #[must_use]
    pub fn without_cache(mut self) -> Self {
        self.force = true;
        self
    }

    /// Takes none of the later steps from the cache.
    #[must_use]
    pub fn skip_cache(mut self) -> Self {
        self.force_next = true;
        self
    }

    /// Runs a command as the current user.
    #[must_use]
    pub fn run(self, command: impl Into<String>) -> Self {
        self.step(Action::Run { command: command.into(), user: None })
    }

    /// Runs a command as another user.
    #[must_use]
    pub fn run_as(self, user: &str, command: impl Into<String>) -> Self {
        self.step(Action::Run { command: command.into(), user: Some(user.to_owned()) })
    }

    /// Installs packages of a Debian or Ubuntu, without what they recommend.
    #[must_use]
    pub fn apt_install<'a>(self, packages: impl IntoIterator<Item = &'a str>) -> Self {
        let packages: Vec<_> = packages.into_iter().map(quote).collect();
        let install = "apt-get update && DEBIAN_FRONTEND=noninteractive \
                       DEBCONF_NOWARNINGS=yes apt-get install -y --no-install-recommends";
        self.run_as("root", format!("{install} {}", packages.join(" ")))
    }

    /// Brings files along.
    #[must_use]
    pub fn copy(self, copy: Copy) -> Self {
        self.step(Action::Copy(copy))
    }

    /// Sets variables for later steps and the start command. They are not
    /// seen by what is started in a sandbox later.
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

    /// What is started once, at the end of the build. A sandbox is a copy of
    /// the machine with this already running in it: it sees no variable that
    /// is given when a sandbox is created, and what it draws at random before
    /// is the same in all of them.
    #[must_use]
    pub fn start(mut self, command: impl Into<String>) -> Self {
        self.start = Some(command.into());
        self
    }

    /// What succeeds as soon as the start command is ready.
    #[must_use]
    pub fn ready(mut self, command: impl Into<String>) -> Self {
        self.ready = Some(command.into());
        self
    }

    /// Its steps.
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
    /// Files of a context directory, with the current user as their owner
    /// and their permissions as they are.
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
    /// The step in one line, as in a Dockerfile.
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

/// Succeeds when something listens on a port.
#[must_use]
pub fn port_is_open(port: u16) -> String {
    format!("[ -n \"$(ss -Htuln sport = :{port})\" ]")
}

/// Succeeds when an address answers with this status.
#[must_use]
pub fn url_answers(url: &str, status: u16) -> String {
    format!("curl -s -o /dev/null -w \"%{{http_code}}\" {} | grep -q \"{status}\"", quote(url))
}
