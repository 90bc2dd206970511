//! The limits that the comments of the contracts state, as code: servers refuse by them, and clients may ask first.

/// The largest amount of one order or top-up, in minor units.
pub const AMOUNT_MAX: i64 = 1_000_000_000_000;
/// The largest balance, in minor units: every integer up to it is exact in a JSON number too.
pub const BALANCE_MAX: i64 = (1 << 53) - 1;
/// The longest `user_id`, in characters.
pub const USER_ID_MAX: usize = 64;
/// The longest `request_id`, in characters.
pub const REQUEST_ID_MAX: usize = 128;
/// The longest `description`, in characters (Unicode scalar values).
pub const DESCRIPTION_MAX: usize = 1_024;

/// Why a value is not allowed.
pub type Problem = &'static str;

/// 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
///
/// # Errors
/// When it is not.
pub fn user_id(text: &str) -> Result<(), Problem> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    match text.len() {
        0 => Err("must be given"),
        1..=USER_ID_MAX if text.bytes().all(allowed) => Ok(()),
        _ => Err("must be 1 to 64 characters of A-Z a-z 0-9 . _ -"),
    }
}

/// 1 to 10^12 minor units.
///
/// # Errors
/// When it is not.
pub fn amount(minor_units: i64) -> Result<(), Problem> {
    if (1..=AMOUNT_MAX).contains(&minor_units) {
        Ok(())
    } else {
        Err("must be 1 to 1000000000000 minor units")
    }
}

/// Absent (empty), or 1 to 128 printable ASCII characters.
///
/// # Errors
/// When it is not.
pub fn request_id(text: &str) -> Result<(), Problem> {
    if text.len() <= REQUEST_ID_MAX && text.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        Ok(())
    } else {
        Err("must be at most 128 printable ASCII characters")
    }
}

/// The versions that an `etag` names; `None` when it is absent (empty) or names any (`*`). A tag may be weak: it names a version, whatever
/// the representation.
///
/// # Errors
/// When it is none.
pub fn versions(etag: &str) -> Result<Option<Vec<i64>>, Problem> {
    if matches!(etag.trim(), "" | "*") {
        return Ok(None);
    }
    let version = |tag: &str| {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag);
        let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag);
        // A tag of the edge has more behind the version.
        let number = tag.split_once('-').map_or(tag, |(version, _)| version);
        number.bytes().all(|byte| byte.is_ascii_digit()).then(|| number.parse().ok()).flatten()
    };
    let versions: Option<Vec<i64>> = etag.split(',').map(version).collect();
    versions.map(Some).ok_or("must be versions, or entity tags that name them, or *")
}

/// At most 1,024 characters, of the control characters only tab and line breaks.
///
/// # Errors
/// When it is not.
pub fn description(text: &str) -> Result<(), Problem> {
    if text.chars().count() > DESCRIPTION_MAX {
        return Err("must be at most 1024 characters");
    }
    if text.chars().any(|character| character.is_control() && !matches!(character, '\t' | '\n' | '\r')) {
        return Err("must not hold control characters other than tab and line breaks");
    }
    Ok(())
}

/// Without U+0000, which no text that is stored can hold.
///
/// # Errors
/// When it is not.
pub fn text(text: &str) -> Result<(), Problem> {
    if text.contains('\0') { Err("must not hold U+0000") } else { Ok(()) }
}

/// How many decimal digits a currency's minor unit has (ISO 4217), for the currencies that accounts can be held in.
#[must_use]
pub fn currency_exponent(code: &str) -> Option<u8> {
    match code {
        "CLP" | "ISK" | "JPY" | "KRW" | "PYG" | "UGX" | "VND" | "XAF" | "XOF" => Some(0),
        "AED" | "AMD" | "ARS" | "AUD" | "AZN" | "BGN" | "BRL" | "BYN" | "CAD" | "CHF" | "CNY" | "COP"
        | "CZK" | "DKK" | "EGP" | "EUR" | "GBP" | "GEL" | "HKD" | "HUF" | "IDR" | "ILS" | "INR" | "KES"
        | "KGS" | "KZT" | "MAD" | "MDL" | "MXN" | "MYR" | "NGN" | "NOK" | "NZD" | "PEN" | "PHP" | "PKR"
        | "PLN" | "QAR" | "RON" | "RSD" | "RUB" | "SAR" | "SEK" | "SGD" | "THB" | "TJS" | "TRY" | "TWD"
        | "UAH" | "USD" | "UZS" | "ZAR" => Some(2),
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => Some(3),
        _ => None,
    }
}

/// A code that [`currency_exponent`] knows.
///
/// # Errors
/// When it is not.
pub fn currency_code(code: &str) -> Result<(), Problem> {
    currency_exponent(code).map(drop).ok_or("must be the ISO 4217 code of a supported currency")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_where_the_contract_says() {
        assert!(user_id(&"a".repeat(64)).is_ok() && user_id("A.b_c-9").is_ok());
        for bad in ["", " ", "a b", "é", "a/b", &"a".repeat(65)] {
            assert!(user_id(bad).is_err(), "{bad:?}");
        }
        assert!(amount(1).is_ok() && amount(AMOUNT_MAX).is_ok());
        for bad in [0, -1, AMOUNT_MAX + 1, i64::MIN, i64::MAX] {
            assert!(amount(bad).is_err(), "{bad}");
        }
        assert!(
            request_id("").is_ok() && request_id("a key").is_ok() && request_id(&"k".repeat(129)).is_err()
        );
        assert!(request_id("line\nbreak").is_err() && request_id("é").is_err());
        assert!(description("naïve 🦀\nsecond line").is_ok() && description(&"é".repeat(1_024)).is_ok());
        assert!(text("x").is_ok() && text("x\u{0}").is_err());
        assert!(description("\u{0}").is_err() && description(&"é".repeat(1_025)).is_err());
        assert!(
            currency_code("RUB").is_ok() && currency_code("rub").is_err() && currency_code("XXX").is_err()
        );
        assert_eq!(
            [currency_exponent("JPY"), currency_exponent("EUR"), currency_exponent("KWD")],
            [Some(0), Some(2), Some(3)]
        );
    }
}
