//! The deadline of a call: how long its caller waits, and no longer than a handler may take.

use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;

/// The longest a handler may take, whatever its caller allows.
pub const HANDLER: Duration = Duration::from_secs(30);

/// The header that says how long a caller waits (gRPC over HTTP/2, section Requests).
const GRPC_TIMEOUT: &str = "grpc-timeout";

/// The deadline of a call that begins now.
#[must_use]
pub fn of(headers: &HeaderMap) -> Instant {
    let asked = headers.get(GRPC_TIMEOUT).and_then(|value| parse(value.to_str().ok()?));
    Instant::now() + asked.map_or(HANDLER, |asked| asked.min(HANDLER))
}

/// What a value of `grpc-timeout` says: at most eight digits and a unit (gRPC over HTTP/2, section Requests). `None` when it cannot be read;
/// it then counts for nothing.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let readable = (1..=8).contains(&digits.len()) && digits.bytes().all(|digit| digit.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| readable)?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_the_protocol_spells_them() {
        assert_eq!(parse("1500m"), Some(Duration::from_millis(1_500)));
        assert_eq!(parse("99999999H"), Some(Duration::from_secs(99_999_999 * 3_600)));
        for wrong in ["", "S", "123456789S", "1", "1s", "-1S", "+1S", "1.5S", "1 S", "é"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
