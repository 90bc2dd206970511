//! Regular expressions of the decimals within bounds: 64 bits are text in JSON, for which `minimum` and `maximum` say nothing.

/// The expression of every whole number from `least` to `most` without a sign and without zeros in front; `None` where there are none, or
/// some that have a sign.
pub(crate) fn pattern(least: i128, most: i128) -> Option<String> {
    let (least, most) = (u128::try_from(least).ok()?, u128::try_from(most).ok()?);
    if least > most {
        return None;
    }
    let mut parts = Vec::new();
    let mut whole: Option<(usize, usize)> = None;
    for length in digits(least).len()..=digits(most).len() {
        let first = if length == 1 { 0 } else { power(length - 1) };
        let last = power(length) - 1;
        let (from, until) = (least.max(first), most.min(last));
        // All of one length but for zero, which has no digits behind it.
        if from == first.max(1) && until == last {
            whole = Some((whole.map_or(length, |(shortest, _)| shortest), length));
        } else {
            parts.extend(of_length(&digits(from), &digits(until)));
        }
    }
    if let Some((shortest, longest)) = whole {
        parts.push(format!("[1-9]{}", any(shortest - 1, longest - 1)));
    }
    Some(format!("^({})$", parts.join("|")))
}

/// What stands for the numbers between two that have as many digits.
fn of_length(from: &[u8], until: &[u8]) -> Vec<String> {
    let ([low, from @ ..], [high, until @ ..]) = (from, until) else { return vec![String::new()] };
    let behind = |digit: &u8, rest: Vec<String>| {
        rest.into_iter().map(|rest| format!("{digit}{rest}")).collect::<Vec<_>>()
    };
    if low == high {
        return behind(low, of_length(from, until));
    }
    let (mut first, mut last, mut parts) = (*low, *high, Vec::new());
    if from.iter().any(|digit| *digit > 0) {
        parts.extend(behind(low, of_length(from, &vec![9; from.len()])));
        first += 1;
    }
    if until.iter().any(|digit| *digit < 9) {
        parts.extend(behind(high, of_length(&vec![0; until.len()], until)));
        last -= 1;
    }
    if first <= last {
        let digit = if first == last { first.to_string() } else { format!("[{first}-{last}]") };
        parts.push(digit + &any(from.len(), from.len()));
    }
    parts
}

fn any(least: usize, most: usize) -> String {
    match (least, most) {
        (0, 0) => String::new(),
        (1, 1) => "[0-9]".to_owned(),
        _ if least == most => format!("[0-9]{{{least}}}"),
        _ => format!("[0-9]{{{least},{most}}}"),
    }
}

fn digits(number: u128) -> Vec<u8> {
    number.to_string().bytes().map(|digit| digit - b'0').collect()
}

fn power(exponent: usize) -> u128 {
    (0..exponent).fold(1, |product: u128, _| product.saturating_mul(10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_expressions() {
        for (least, most, expression) in [
            (1, 1_000_000_000_000, "^(1000000000000|[1-9][0-9]{0,11})$"),
            (0, 9, "^([0-9])$"),
            (1, 9, "^([1-9])$"),
            (7, 7, "^(7)$"),
            (0, 105, "^([0-9]|10[0-5]|[1-9][0-9])$"),
            (35, 128, "^(3[5-9]|[4-9][0-9]|12[0-8]|1[0-1][0-9])$"),
        ] {
            assert_eq!(pattern(least, most).as_deref(), Some(expression), "{least} to {most}");
        }
        assert_eq!((pattern(-1, 5), pattern(3, 2)), (None, None));
    }
}
