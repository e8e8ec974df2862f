//! The program: arguments, commands, output.

pub(crate) mod args;
pub(crate) mod build;
pub(crate) mod contents;
pub(crate) mod rehearse;
pub(crate) mod report;

/// Failure of the program, with its exit code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The arguments or the environment are unusable: exit 2.
    Usage(String),
    /// The command failed: exit 1.
    Failed(String),
    /// The user pressed Ctrl-C: exit 130.
    Interrupted(String),
}

impl Failure {
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Usage(_) => 2,
            Self::Interrupted(_) => 130,
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Usage(text) | Self::Failed(text) | Self::Interrupted(text) => text,
        }
    }
}

/// Converts a failure of the program's own output.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("the output cannot be written: {error}"))
    }
}
