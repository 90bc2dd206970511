//! Settings are flags with an environment variable each, and every error in them is reported at once.
//!
//! clap stops at the first value it cannot read; so a flag whose value can be wrong is declared as [`Checked`], which always
//! reads, and is taken out with a [`ConfigErrors`] at hand, which collects what was wrong.

use std::{convert::Infallible, fmt, str::FromStr};

use crate::redact::redacted;

/// A flag's value, read but not yet judged. A URL in it is shown without its password.
#[derive(Clone)]
pub struct Checked<T> {
    raw: String,
    value: Result<T, String>,
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Checked<T> {
    type Err = Infallible;

    fn from_str(raw: &str) -> Result<Self, Infallible> {
        let value = raw.parse().map_err(|error: T::Err| error.to_string());
        Ok(Self { raw: raw.to_owned(), value })
    }
}

impl<T> Checked<T> {
    /// The value, or an error of `flag` noted and `None`.
    pub fn take(self, flag: &str, errors: &mut ConfigErrors) -> Option<T> {
        match self.value {
            Ok(value) => Some(value),
            Err(error) => {
                errors.note(flag, format!("{:?} is not valid: {error}", redacted(&self.raw)));
                None
            }
        }
    }
}

impl<T> fmt::Debug for Checked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Checked").field(&redacted(&self.raw)).finish()
    }
}

/// Everything found wrong with the settings.
#[derive(Debug, Default, thiserror::Error)]
pub struct ConfigErrors(Vec<String>);

impl ConfigErrors {
    /// Notes one error.
    pub fn note(&mut self, flag: &str, problem: impl fmt::Display) {
        self.0.push(format!("{flag}: {problem}"));
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.0.len()
    }

    /// Notes an error when `holds` is false.
    pub fn require(&mut self, holds: bool, flag: &str, problem: impl fmt::Display) {
        if !holds {
            self.note(flag, problem);
        }
    }

    /// Adds what another part found.
    pub fn extend(&mut self, others: Self) {
        self.0.extend(others.0);
    }

    /// `built` when nothing was wrong; every error otherwise. `built` is `None` only after an error was noted.
    ///
    /// # Errors
    /// All errors noted.
    pub fn or<T>(mut self, built: Option<T>) -> Result<T, Self> {
        match built {
            Some(built) if self.0.is_empty() => Ok(built),
            _ if self.0.is_empty() => {
                self.note("settings", "incomplete");
                Err(self)
            }
            _ => Err(self),
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} error{plural} in the settings:", self.0.len())?;
        self.0.iter().try_for_each(|error| write!(f, "\n  {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    #[test]
    fn every_error_is_reported() {
        let mut errors = ConfigErrors::default();
        let listen: Checked<SocketAddr> = "nowhere".parse().unwrap_or_else(|never| match never {});
        let good: Checked<u16> = "7".parse().unwrap_or_else(|never| match never {});
        let listen = listen.take("--listen", &mut errors);
        errors.require(false, "--partitions", "must be at least 1");
        let good = good.take("--good", &mut errors);
        assert_eq!(good, Some(7));
        let text = errors.or(listen).expect_err("two errors were noted").to_string();
        assert!(
            text.starts_with("2 errors in the settings:\n  --listen: \"nowhere\" is not valid"),
            "{text}"
        );
        assert!(text.contains("--partitions: must be at least 1"), "{text}");
    }
}
