//! The program: what is typed, what is done, what is printed.

pub(crate) mod args;
pub(crate) mod build;
pub(crate) mod contents;
pub(crate) mod rehearse;
pub(crate) mod report;

/// Why the program ends with an error, and with which code.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What was asked for cannot be tried: exit 2.
    Usage(String),
    /// It was tried and failed: exit 1.
    Failed(String),
    /// Somebody pressed Ctrl-C: exit 130.
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

/// A failure of the program's own output: nobody is left to read it.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(format!("the output cannot be written: {error}"))
    }
}
