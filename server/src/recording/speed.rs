//! The speed at which a recording is played.

use std::str::FromStr;
use std::time::Duration;

/// Maximum time between two entries.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// The highest factor. More is `max`.
const MAX_FACTOR: f64 = 1e6;

/// The speed at which a recording is played: a factor, or `max` for no pauses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Speed {
    /// So many times its own.
    Factor(f64),
    /// Without pauses.
    Max,
}

impl Speed {
    /// Returns the pause for one that was recorded.
    #[must_use]
    pub fn pause(self, recorded: Duration) -> Duration {
        match self {
            Self::Factor(factor) => {
                Duration::try_from_secs_f64(recorded.as_secs_f64() / factor).unwrap_or(MAX_PAUSE)
            }
            Self::Max => Duration::ZERO,
        }
        .min(MAX_PAUSE)
    }
}

impl FromStr for Speed {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if text == "max" {
            return Ok(Self::Max);
        }
        match text.parse() {
            Ok(factor) if factor > 0.0 && factor <= MAX_FACTOR => Ok(Self::Factor(factor)),
            _ => Err(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_positive_factor_or_max() {
        let second = Duration::from_secs(1);
        assert_eq!("2".parse::<Speed>().unwrap().pause(second), second / 2);
        assert_eq!("0.5".parse::<Speed>().unwrap().pause(second), second * 2);
        assert_eq!("max".parse::<Speed>().unwrap().pause(second), Duration::ZERO);
        assert_eq!("1e-300".parse::<Speed>().unwrap().pause(second), MAX_PAUSE);
        assert_eq!("1".parse::<Speed>().unwrap().pause(Duration::MAX), MAX_PAUSE);
        for bad in ["", "0", "-1", "nan", "inf", "1e7", "fast"] {
            assert_eq!(bad.parse::<Speed>(), Err(()), "{bad}");
        }
    }
}
