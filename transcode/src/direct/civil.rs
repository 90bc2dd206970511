//! Timestamps as RFC 3339 text in UTC and durations in seconds, the way ProtoJSON prints them: with 0, 3, 6 or 9 digits of a second.

use super::{
    fallback::NoJson,
    wire::{VARINT, Wire, put_tag, put_varint},
};
use crate::times::{DAY, LONGEST, Parts, RANGE};

const NANOS: i64 = 1_000_000_000;

/// Appends a `google.protobuf.Timestamp` as a JSON string.
///
/// # Errors
/// Refused when it is out of range.
pub(crate) fn timestamp(wire: Wire<'_>, out: &mut Vec<u8>) -> Result<(), NoJson> {
    print_timestamp(parts(wire).ok_or(NoJson::Fallback)?, out)
}

/// As [`timestamp`], from its seconds and nanoseconds.
///
/// # Errors
/// As [`timestamp`].
pub(crate) fn print_timestamp((seconds, nanos): (i64, i64), out: &mut Vec<u8>) -> Result<(), NoJson> {
    let nanos = u32::try_from(nanos).ok().filter(|_| nanos < NANOS && RANGE.contains(&seconds));
    print(seconds, nanos.ok_or(NoJson::OutOfRange)?, out);
    Ok(())
}

/// Appends a `google.protobuf.Duration` as a JSON string.
///
/// # Errors
/// Refused when it is out of range, or its parts have different signs.
pub(crate) fn duration(wire: Wire<'_>, out: &mut Vec<u8>) -> Result<(), NoJson> {
    print_duration(parts(wire).ok_or(NoJson::Fallback)?, out)
}

/// As [`duration`], from its seconds and nanoseconds.
///
/// # Errors
/// As [`duration`].
pub(crate) fn print_duration((seconds, nanos): (i64, i64), out: &mut Vec<u8>) -> Result<(), NoJson> {
    let same_sign = seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0);
    let part =
        u32::try_from(nanos.unsigned_abs()).ok().filter(|_| nanos.unsigned_abs() < NANOS.unsigned_abs());
    let part = part.filter(|_| same_sign && seconds.unsigned_abs() <= LONGEST).ok_or(NoJson::OutOfRange)?;
    out.extend_from_slice(if seconds < 0 || nanos < 0 { b"\"-" } else { b"\"" });
    super::print::print(&seconds.unsigned_abs(), out)?;
    fraction(part, out);
    out.extend_from_slice(b"s\"");
    Ok(())
}

/// Appends seconds and nanoseconds as the fields of either type.
pub(crate) fn put((seconds, nanos): Parts, out: &mut Vec<u8>) {
    for (number, value) in [(1, seconds), (2, nanos.into())] {
        if value != 0 {
            put_tag(out, number, VARINT);
            put_varint(out, value.cast_unsigned());
        }
    }
}

/// Seconds and nanoseconds, which both types number alike.
fn parts(mut wire: Wire<'_>) -> Option<(i64, i64)> {
    let (mut seconds, mut nanos) = (None, None);
    while !wire.is_empty() {
        let slot = match wire.tag()? {
            (1, VARINT) => &mut seconds,
            (2, VARINT) => &mut nanos,
            _ => return None,
        };
        if slot.replace(wire.varint()?.cast_signed()).is_some() {
            return None;
        }
    }
    #[expect(clippy::cast_possible_truncation, reason = "an int32 loses what a varint has above")]
    let nanos = nanos.unwrap_or(0) as i32;
    Some((seconds.unwrap_or(0), nanos.into()))
}

#[expect(clippy::cast_sign_loss, reason = "a time within a day, and years from 1 to 9999")]
fn print(seconds: i64, nanos: u32, out: &mut Vec<u8>) {
    let (year, month, day) = date(seconds.div_euclid(DAY));
    let second = seconds.rem_euclid(DAY) as u32;
    out.push(b'"');
    digits(year as u32, 4, out);
    for (mark, value) in
        [(b'-', month), (b'-', day), (b'T', second / 3_600), (b':', second / 60 % 60), (b':', second % 60)]
    {
        out.push(mark);
        digits(value, 2, out);
    }
    fraction(nanos, out);
    out.extend_from_slice(b"Z\"");
}

/// A point and the digits of a second, unless there are none.
fn fraction(nanos: u32, out: &mut Vec<u8>) {
    if nanos != 0 {
        out.push(b'.');
        match (nanos % 1_000_000, nanos % 1_000) {
            (0, _) => digits(nanos / 1_000_000, 3, out),
            (_, 0) => digits(nanos / 1_000, 6, out),
            _ => digits(nanos, 9, out),
        }
    }
}

/// Year, month and day of a day since 1970-01-01 in the Gregorian calendar. Years are counted from March, so that the day that
/// some have comes last; 400 years have 146,097 days.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "months and days are small, and at least 1"
)]
fn date(days: i64) -> (i64, u32, u32) {
    let from_march = days + 719_468;
    let (era, day_of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Five months from March have 153 days, and so have the next five.
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month as u32, day as u32)
}

fn digits(value: u32, width: u32, out: &mut Vec<u8>) {
    for place in (0..width).rev() {
        // A digit is below 10.
        out.push(b'0' + (value / 10_u32.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;

    proptest! {
        #[test]
        fn another_implementation_prints_the_same(
            seconds in RANGE,
            nanos in prop_oneof![0..1_000_000_000, (0..1_000).prop_map(|n| n * 1_000_000), Just(0), Just(5_000)],
        ) {
            let stamp = prost_types::Timestamp { seconds, nanos };
            let mut out = Vec::new();
            timestamp(Wire(&stamp.encode_to_vec()), &mut out).expect("in range");
            prop_assert_eq!(String::from_utf8_lossy(&out), format!("\"{stamp}\""));
        }
    }

    #[test]
    fn a_duration_has_one_sign_and_as_many_digits_as_it_needs() {
        for (parts, text) in [
            ((0, 0), "\"0s\""),
            ((-1, -500_000_000), "\"-1.500s\""),
            ((0, -1), "\"-0.000000001s\""),
            ((315_576_000_000, 1_000), "\"315576000000.000001s\""),
        ] {
            let mut out = Vec::new();
            print_duration(parts, &mut out).expect("in range");
            assert_eq!(String::from_utf8_lossy(&out), text);
        }
        for parts in
            [(1, -1), (-1, 1), (0, 1_000_000_000), (0, i64::MIN), (315_576_000_001, 0), (i64::MIN, 0)]
        {
            assert_eq!(print_duration(parts, &mut Vec::new()), Err(NoJson::OutOfRange), "{parts:?}");
        }
    }

    #[test]
    fn the_ends_are_exact() {
        for (seconds, text) in [
            (*RANGE.start(), "\"0001-01-01T00:00:00Z\""),
            (*RANGE.end(), "\"9999-12-31T23:59:59Z\""),
            (951_782_400, "\"2000-02-29T00:00:00Z\""),
        ] {
            let stamp = prost_types::Timestamp { seconds, nanos: 0 };
            let mut out = Vec::new();
            timestamp(Wire(&stamp.encode_to_vec()), &mut out).expect("in range");
            assert_eq!(out, text.as_bytes());
        }
    }
}
