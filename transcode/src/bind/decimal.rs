//! Numbers as JSON spells them, read digit by digit: what a double would round is exact here.

/// Whether a text is a number (RFC 8259, section 6); zeros before its digits are taken too.
pub(crate) fn is_number(text: &str) -> bool {
    Decimal::of(text).is_some()
}

/// The integer that a number is, however it is spelled: `1e3`, `1.0`, `10e-1`. `None` where it is none, or has more than 38 digits.
pub(crate) fn whole(text: &str) -> Option<i128> {
    let Decimal { negative, whole, fraction, exponent } = Decimal::of(text)?;
    let (mut value, mut zeros) = (0_i128, 0);
    // A zero counts once another digit follows it.
    for digit in whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0') {
        if digit == 0 {
            zeros += 1;
        } else if value == 0 {
            (value, zeros) = (digit.into(), 0);
        } else {
            let shifted = value.checked_mul(10_i128.checked_pow(zeros + 1)?)?;
            (value, zeros) = (shifted.checked_add(digit.into())?, 0);
        }
    }
    if value == 0 {
        return Some(0);
    }
    let places = exponent.checked_add(zeros.into())?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let value = value.checked_mul(10_i128.checked_pow(u32::try_from(places).ok()?)?)?;
    Some(if negative { -value } else { value })
}

/// The parts of a number; digits are ASCII digits.
struct Decimal<'t> {
    negative: bool,
    whole: &'t str,
    fraction: &'t str,
    /// The farthest one for those that are farther.
    exponent: i64,
}

impl<'t> Decimal<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, power(exponent)?),
            None => (text, 0),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            Some((whole, fraction)) => (whole, digits(fraction)?),
            None => (mantissa, ""),
        };
        Some(Self { negative, whole: digits(whole)?, fraction, exponent })
    }
}

fn power(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = digits(text)?.parse().unwrap_or(i64::MAX);
    Some(if negative { -value } else { value })
}

/// A text that is digits, and at least one.
fn digits(text: &str) -> Option<&str> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then_some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_spelling_of_an_integer_is_exact() {
        for (text, value) in [
            ("0", 0),
            ("-0.0", 0),
            ("0e99999999999999999999", 0),
            ("1e3", 1_000),
            ("1.0", 1),
            ("10e-1", 1),
            ("100.00E-2", 1),
            ("1.5e+1", 15),
            ("-2.50e1", -25),
            ("007", 7),
            ("1e18", 1_000_000_000_000_000_000),
            ("1e19", 10_000_000_000_000_000_000),
            ("9007199254740993.0", 9_007_199_254_740_993),
            ("18446744073709551615.000", u64::MAX.into()),
            (&format!("{}1{}e-400", "0".repeat(400), "0".repeat(400)), 1),
        ] {
            assert_eq!(whole(text), Some(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_integer_or_no_number_is_none() {
        for text in ["0.99999999999999999999", "999999999999.00001", "1e-1", "1e39", "1e99999999999999999999"]
        {
            assert!(is_number(text) && whole(text).is_none(), "{text}");
        }
        for text in [
            "", "-", "+1", "1.", ".5", "1e", "1e+", "inf", "NaN", "0x1", "1_0", " 1", "1 ", "--1", "1e1.0",
            "1e1e1",
        ] {
            assert!(!is_number(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_place_of_the_point_does_not_matter(value: i64, places in 0..30_usize) {
            let digits = format!("{:030}", value.unsigned_abs());
            let (whole_part, fraction) = digits.split_at(30 - places);
            let sign = if value < 0 { "-" } else { "" };
            let point = if fraction.is_empty() { "" } else { "." };
            let whole_part = if whole_part.is_empty() { "0" } else { whole_part };
            prop_assert_eq!(whole(&format!("{sign}{whole_part}{point}{fraction}e{places}")), Some(value.into()));
        }
    }
}
