//! Times and durations from their text in JSON; what does not fit to the last digit is none.

use std::ops::RangeInclusive;

/// `0001-01-01T00:00:00Z` and `9999-12-31T23:59:59Z`: what a Timestamp can hold.
pub(crate) const RANGE: RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

/// Seconds of a day.
pub(crate) const DAY: i64 = 86_400;

/// Ten thousand years: what a Duration can hold, to both sides.
pub(crate) const LONGEST: u64 = 315_576_000_000;

/// Seconds and nanoseconds.
pub(crate) type Parts = (i64, i32);

/// A Timestamp (RFC 3339 with `T` and `Z` in capitals, as ProtoJSON has it).
pub(crate) fn timestamp(text: &str) -> Option<Parts> {
    let mut rest = Rest(text.as_bytes());
    let (year, month, day) = (rest.number(4)?, rest.after(b'-', 2)?, rest.after(b'-', 2)?);
    let (hour, minute, second) = (rest.after(b'T', 2)?, rest.after(b':', 2)?, rest.after(b':', 2)?);
    let nanos = rest.fraction()?;
    let offset = match rest.byte()? {
        b'Z' => 0,
        sign @ (b'+' | b'-') => {
            let (hours, minutes) = (rest.number(2)?, rest.after(b':', 2)?);
            let ahead = (hours < 24 && minutes < 60).then_some((hours * 60 + minutes) * 60)?;
            if sign == b'+' { ahead } else { -ahead }
        }
        _ => return None,
    };
    let is_day = (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
    // Neither type has leap seconds.
    let is_time = hour < 24 && minute < 60 && second < 60;
    let seconds = day_number(year, month, day) * DAY + (hour * 60 + minute) * 60 + second - offset;
    (rest.0.is_empty() && is_day && is_time && RANGE.contains(&seconds)).then_some((seconds, nanos))
}

/// A Duration.
pub(crate) fn duration(text: &str) -> Option<Parts> {
    let text = text.strip_suffix('s')?;
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let length = text.bytes().take_while(u8::is_ascii_digit).count();
    let seconds: u64 = text[..length].parse().ok()?;
    let mut rest = Rest(&text.as_bytes()[length..]);
    let nanos = rest.fraction()?;
    let fits = rest.0.is_empty() && seconds <= LONGEST;
    let parts = (i64::try_from(seconds).ok().filter(|_| fits)?, nanos);
    Some(if negative { (-parts.0, -parts.1) } else { parts })
}

/// What is left of a text.
struct Rest<'t>(&'t [u8]);

impl Rest<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    /// A number of so many digits.
    fn number(&mut self, width: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(width)?;
        self.0 = rest;
        digits
            .iter()
            .try_fold(0, |value, digit| digit.is_ascii_digit().then(|| value * 10 + i64::from(digit - b'0')))
    }

    fn after(&mut self, mark: u8, width: usize) -> Option<i64> {
        (self.byte()? == mark).then(|| self.number(width))?
    }

    /// Nanoseconds: nothing, or a point and 1 to 9 digits.
    fn fraction(&mut self) -> Option<i32> {
        let Some(rest) = self.0.strip_prefix(b".") else { return Some(0) };
        self.0 = rest;
        let width = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let places = u32::try_from(width).ok().filter(|width| (1..=9).contains(width))?;
        i32::try_from(self.number(width)? * 10_i64.pow(9 - places)).ok()
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The day since 1970-01-01: `crate::direct::civil` goes the other way.
fn day_number(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::direct::civil::{print_duration, print_timestamp};

    #[test]
    fn what_fits_is_read() {
        for (text, parts) in [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2024-02-29T12:00:00.5+01:00", (1_709_204_400, 500_000_000)),
            ("1969-12-31T23:59:59.999999999-00:00", (-1, 999_999_999)),
            ("0001-01-01T00:00:00Z", (*RANGE.start(), 0)),
            ("9999-12-31T23:59:59.999999999Z", (*RANGE.end(), 999_999_999)),
        ] {
            assert_eq!(timestamp(text), Some(parts), "{text}");
        }
        for (text, parts) in [
            ("0s", (0, 0)),
            ("-0s", (0, 0)),
            ("1.5s", (1, 500_000_000)),
            ("-0.000000001s", (0, -1)),
            ("-315576000000.999999999s", (-315_576_000_000, -999_999_999)),
        ] {
            assert_eq!(duration(text), Some(parts), "{text}");
        }
    }

    #[test]
    fn what_does_not_fit_is_none() {
        for text in [
            "",
            "2024-01-01T00:00:00",
            "2024-01-01 00:00:00Z",
            "2024-01-01t00:00:00Z",
            "2024-01-01T00:00:00z",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.0000000001Z",
            "2024-01-01T23:59:60Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:60:00Z",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-00-01T00:00:00Z",
            "2024-01-01T00:00:00+24:00",
            "2024-01-01T00:00:00+0100",
            "2024-01-01T00:00:00ZZ",
            "0001-01-01T00:00:00+00:01",
            "9999-12-31T23:59:59-00:01",
            "10000-01-01T00:00:00Z",
            "2024-01-01T00:00:0éZ",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
        for text in [
            "",
            "s",
            "1",
            "1.s",
            ".5s",
            "+1s",
            "--1s",
            "1.0000000001s",
            "315576000001s",
            "1 s",
            "1e3s",
            "é.s",
        ] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_time_is_read_as_it_is_printed(seconds in RANGE, nanos in 0..1_000_000_000_i32) {
            let mut out = Vec::new();
            print_timestamp((seconds, nanos.into()), &mut out).expect("in range");
            let text = String::from_utf8_lossy(&out);
            prop_assert_eq!(timestamp(text.trim_matches('"')), Some((seconds, nanos)));
        }

        #[test]
        fn every_duration_is_read_as_it_is_printed(seconds in 0..=315_576_000_000_i64, nanos in 0..1_000_000_000_i32, negative: bool) {
            let parts = if negative { (-seconds, -nanos) } else { (seconds, nanos) };
            let mut out = Vec::new();
            print_duration((parts.0, parts.1.into()), &mut out).expect("in range");
            let text = String::from_utf8_lossy(&out);
            prop_assert_eq!(duration(text.trim_matches('"')), Some(parts));
        }
    }
}
