//! When the agent is started before a client needs it.

use std::str::FromStr;

/// When the agent is started before a client needs it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prewarm {
    /// Never: with the first client.
    #[default]
    Off,
    /// Once a configuration has been posted.
    Configured,
    /// At once: a spare agent waits, initialized. Also once a configuration has
    /// been posted that the spare cannot serve.
    Spare,
}

impl Prewarm {
    /// Whether a spare agent waits.
    #[must_use]
    pub fn keeps_spare(self) -> bool {
        self == Self::Spare
    }

    /// Whether a configuration starts the agent.
    #[must_use]
    pub fn starts_when_configured(self) -> bool {
        self != Self::Off
    }

    /// Returns the name on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Configured => "configured",
            Self::Spare => "spare",
        }
    }
}

/// Parse error of [`Prewarm`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected off, configured or spare")]
pub struct UnknownPrewarm;

impl FromStr for Prewarm {
    type Err = UnknownPrewarm;

    fn from_str(text: &str) -> Result<Self, UnknownPrewarm> {
        match text {
            "off" | "0" | "false" => Ok(Self::Off),
            "configured" => Ok(Self::Configured),
            "spare" | "1" | "true" => Ok(Self::Spare),
            _ => Err(UnknownPrewarm),
        }
    }
}
