//! How long a request may take, as flags and the header `X-Request-Timeout` write it.

use std::{str::FromStr, time::Duration};

/// More than a flag or a client can ask for is cut to this.
pub(crate) const LONGEST: Duration = Duration::from_secs(300);

/// A positive time of at most [`LONGEST`]: seconds (`2`, `0.5`, `2s`) or milliseconds (`500ms`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeout(Duration);

/// Text that is no timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a positive number of seconds such as `2` or `1.5s`, or of milliseconds such as `500ms`")]
pub struct TimeoutError;

impl FromStr for Timeout {
    type Err = TimeoutError;

    fn from_str(text: &str) -> Result<Self, TimeoutError> {
        let (number, unit) = match text.strip_suffix("ms") {
            Some(number) => (number, 1e-3),
            None => (text.strip_suffix('s').unwrap_or(text), 1.0),
        };
        // Rust reads signs, exponents, `inf` and `nan` too.
        if !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(TimeoutError);
        }
        let seconds = number.parse::<f64>().map_err(|_| TimeoutError)? * unit;
        let time =
            Duration::try_from_secs_f64(seconds.min(LONGEST.as_secs_f64())).map_err(|_| TimeoutError)?;
        // A time that rounds to nothing would be over before the call is made.
        if time < Duration::from_micros(1) { Err(TimeoutError) } else { Ok(Self(time)) }
    }
}

impl From<Timeout> for Duration {
    fn from(timeout: Timeout) -> Self {
        timeout.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_milliseconds_are_read() {
        for (text, millis) in
            [("2", 2_000), ("1.5s", 1_500), ("500ms", 500), ("0.25", 250), ("1e", 0), ("86400", 300_000)]
        {
            let expected = (millis > 0).then(|| Duration::from_millis(millis));
            assert_eq!(text.parse().ok().map(|Timeout(time)| time), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "0", "-1", "+1", "s", "ms", "inf", "nan", "1m", "1 s", "0ms", "1..2", "."] {
            assert_eq!(text.parse::<Timeout>(), Err(TimeoutError), "{text}");
        }
    }
}
