//! Filter expressions of lists: the part of AIP-160 that this mesh supports, read into comparisons.
//!
//! `field operator value`, joined by `AND`. Operators are `=` `!=` `<` `<=` `>` `>=`; a value is a word or a string in double
//! quotes, where a backslash keeps the next character: `""` is what a field without a value has. What the fields are is for each list to
//! say.

use std::{iter::Peekable, str::CharIndices};

use chassis::{
    clock::Micros,
    status::{Fault, Reason},
};

/// The longest expression that is read, in bytes.
const LENGTH: usize = 2_048;
/// Comparisons of one expression at most.
const COMPARISONS: usize = 16;

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Comparison {
    /// The name of the field, as in the contract.
    pub field: String,
    /// How it is compared.
    pub operator: Operator,
    /// With what, without its quotes.
    pub value: String,
}

impl Comparison {
    /// Refuses an order among values that have none.
    ///
    /// # Errors
    /// When the operator is another than `=` and `!=`.
    pub fn by_equality(&self) -> Result<Operator, String> {
        match self.operator {
            Operator::Equal | Operator::NotEqual => Ok(self.operator),
            _ => Err(format!("{} can be compared by = and != only", self.field)),
        }
    }

    /// The value; `None` for the empty one, which is what a field without a value has.
    #[must_use]
    pub fn present(&self) -> Option<String> {
        (!self.value.is_empty()).then(|| self.value.clone())
    }

    /// The value as a number of minor units.
    ///
    /// # Errors
    /// When it is none.
    pub fn minor_units(&self) -> Result<i64, String> {
        self.value.parse().map_err(|_| format!("{:?} is no number of minor units", self.value))
    }

    /// The value as a moment (RFC 3339).
    ///
    /// # Errors
    /// When it is none.
    pub fn moment(&self) -> Result<Micros, String> {
        let invalid = || format!("{:?} is no time such as 2026-01-31T12:00:00Z", self.value);
        let at: prost_types::Timestamp = self.value.parse().map_err(|_| invalid())?;
        let micros = at.seconds.checked_mul(1_000_000);
        micros.and_then(|micros| micros.checked_add(i64::from(at.nanos) / 1_000)).ok_or_else(invalid)
    }
}

/// What a list must meet: the comparisons of an expression, each as `condition` reads it.
///
/// # Errors
/// INVALID_FILTER.
pub fn conditions<C>(
    text: &str,
    condition: impl Fn(&Comparison) -> Result<C, String>,
) -> Result<Vec<C>, Fault> {
    let conditions = parse(text).and_then(|comparisons| comparisons.iter().map(condition).collect());
    conditions.map_err(|problem| Fault::of_field(Reason::InvalidFilter, "filter", problem))
}

/// Reads an expression; the empty one has no comparison.
///
/// # Errors
/// What is wrong with it, for a person.
fn parse(text: &str) -> Result<Vec<Comparison>, String> {
    if text.len() > LENGTH {
        return Err(format!("a filter has at most {LENGTH} bytes"));
    }
    // No text that is stored holds it, and PostgreSQL refuses a statement that does.
    if text.contains('\0') {
        return Err("a filter must not hold U+0000".to_owned());
    }
    let mut reader = Reader { text, rest: text.char_indices().peekable() };
    let mut comparisons = Vec::new();
    reader.skip_spaces();
    while reader.rest.peek().is_some() {
        if !comparisons.is_empty() && reader.word() != "AND" {
            return Err("comparisons are joined by AND".to_owned());
        }
        comparisons.push(reader.comparison()?);
        if comparisons.len() > COMPARISONS {
            return Err(format!("a filter has at most {COMPARISONS} comparisons"));
        }
    }
    Ok(comparisons)
}

struct Reader<'t> {
    text: &'t str,
    rest: Peekable<CharIndices<'t>>,
}

impl<'t> Reader<'t> {
    fn comparison(&mut self) -> Result<Comparison, String> {
        let field = self.word();
        if field.is_empty() {
            return Err(match self.rest.peek() {
                Some((_, letter)) => format!(
                    "{letter} begins no comparison: these are `field = value`, joined by AND, without parentheses"
                ),
                None => "a comparison is missing behind AND".to_owned(),
            });
        }
        let operator = match self.run(|letter| matches!(letter, '=' | '!' | '<' | '>')) {
            "=" => Operator::Equal,
            "!=" => Operator::NotEqual,
            "<" => Operator::Less,
            "<=" => Operator::AtMost,
            ">" => Operator::Greater,
            ">=" => Operator::AtLeast,
            other => return Err(format!("{other:?} behind {field} is none of = != < <= > >=")),
        };
        let value = match self.rest.peek() {
            Some((_, '"')) => self.quoted()?,
            _ => match self.word() {
                "" => {
                    return Err(match self.rest.peek() {
                        Some((_, letter)) => {
                            format!(
                                "{letter} begins no value of {field}: it is a word, or text in double quotes"
                            )
                        }
                        None => format!("{field} is compared with nothing"),
                    });
                }
                word => word.to_owned(),
            },
        };
        Ok(Comparison { field: field.to_owned(), operator, value })
    }

    fn word(&mut self) -> &'t str {
        self.run(|letter| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | ':' | '+'))
    }

    fn quoted(&mut self) -> Result<String, String> {
        let mut value = String::new();
        self.rest.next();
        loop {
            match self.rest.next() {
                Some((_, '"')) => break,
                Some((_, '\\')) => value.extend(self.rest.next().map(|(_, letter)| letter)),
                Some((_, letter)) => value.push(letter),
                None => return Err("a string is not closed".to_owned()),
            }
        }
        self.skip_spaces();
        Ok(value)
    }

    /// The letters from here on that are of a kind, and the spaces behind them skipped.
    fn run(&mut self, of_kind: impl Fn(char) -> bool) -> &'t str {
        let start = self.rest.peek().map_or(self.text.len(), |(at, _)| *at);
        while self.rest.next_if(|(_, letter)| of_kind(*letter)).is_some() {}
        let end = self.rest.peek().map_or(self.text.len(), |(at, _)| *at);
        self.skip_spaces();
        &self.text[start..end]
    }

    fn skip_spaces(&mut self) {
        while self.rest.next_if(|(_, letter)| letter.is_whitespace()).is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comparison(field: &str, operator: Operator, value: &str) -> Comparison {
        Comparison { field: field.into(), operator, value: value.into() }
    }

    #[test]
    fn comparisons_are_read() {
        assert_eq!(parse("  "), Ok(Vec::new()));
        let text = r#"status = FINISHED AND amount>=-5 AND request_id != "a \"b\" AND c" AND create_time<2026-01-02T03:04:05.5Z AND request_id="""#;
        let expected = vec![
            comparison("status", Operator::Equal, "FINISHED"),
            comparison("amount", Operator::AtLeast, "-5"),
            comparison("request_id", Operator::NotEqual, r#"a "b" AND c"#),
            comparison("create_time", Operator::Less, "2026-01-02T03:04:05.5Z"),
            comparison("request_id", Operator::Equal, ""),
        ];
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        let many = vec!["a=1"; 17].join(" AND ");
        let long = format!("a={}", "1".repeat(3_000));
        for text in [
            "a",
            "a=",
            "=1",
            "a=1 b=2",
            "a=1 AND",
            "a=1 OR b=2",
            "a==1",
            "a=\"x",
            "(a=1)",
            "a:1",
            "a=\"\0\"",
            &many,
            &long,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        for (text, why) in [
            ("(a=1)", "( begins no comparison"),
            ("a='x'", "' begins no value of a: it is a word, or text in double quotes"),
            ("a=", "a is compared with nothing"),
        ] {
            let refused = parse(text).map_or_else(|problem| problem, |read| format!("{read:?}"));
            assert!(refused.starts_with(why), "{text}: {refused}");
        }
    }
}
