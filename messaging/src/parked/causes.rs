//! Causes: what the errors of messages have in common, whatever ids, numbers and values they name.

use sea_orm::{
    ConnectionTrait as _, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    Statement, entity::prelude::*,
};
use sha2::{Digest as _, Sha256};
use storage::{Database, Failure, rows};

use super::{Column, Entity, terms};

/// Of an error so many bytes count: what follows is mostly the data that it is about.
const LENGTH: usize = 1_000;
/// Rows whose causes are written at a time.
const PAGE: u64 = 500;

/// Begins each cause. Those of versions before, which took other errors for the same, are hexadecimal digits alone, and a process of such a version
/// may go on writing them beside this one. Whoever changes what errors have in common takes another letter, none of `a` to `f`.
const MARK: char = 'g';
/// Of the table `parked`: what has no cause, or one of another version.
const WITHOUT_CAUSE: &str = "(parked.cause IS NULL OR parked.cause NOT LIKE 'g%')";

/// Stands for what messages of one consumer and kind have in common: a letter and 15 hexadecimal digits.
pub(crate) fn cause(consumer: &str, kind: &str, error: &str) -> String {
    let mut digest = Sha256::new();
    for text in [consumer, kind, &common(error)] {
        // The lengths keep text from moving between them.
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    let mut cause: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    cause.pop();
    cause.insert(0, MARK);
    cause
}

/// An error without what distinguishes one message from another: `#` stands for numbers, ids (words with a digit) and lists of them, `""`
/// for quoted values. Digits of its wording stay, such as those of `ISO 4217`.
#[must_use]
pub fn common(error: &str) -> String {
    let (mut text, mut rest, mut before) = (String::new(), error, None);
    while let Some(first) = rest.chars().next().filter(|_| text.len() < LENGTH) {
        let length = match first {
            '"' | '\'' | '`' => quoted(rest, first, before),
            _ => None,
        };
        let taken = if let Some(length) = length {
            push(&mut text, "\"\"");
            length
        } else if is_of_word(first) {
            let word = rest.find(|next| !is_of_word(next)).map_or(rest, |end| &rest[..end]);
            let has_digit = word.contains(|letter: char| letter.is_ascii_digit());
            match terms::fixed(error, error.len() - rest.len(), word).filter(|_| has_digit) {
                Some(length) => {
                    text.push_str(&rest[..length]);
                    length
                }
                None if has_digit => {
                    push(&mut text, "#");
                    word.len()
                }
                None => {
                    text.push_str(word);
                    word.len()
                }
            }
        } else {
            text.push(first);
            first.len_utf8()
        };
        before = rest[..taken].chars().next_back();
        rest = &rest[taken..];
    }
    text
}

/// The ids of UUIDs and the like are one word.
fn is_of_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '-')
}

/// The bytes of a quoted value with its quotes: to the end of the text when it is not closed, for an error may be cut off. `None` for an
/// apostrophe.
fn quoted(text: &str, quote: char, before: Option<char>) -> Option<usize> {
    let is_apostrophe = quote != '"' && before.is_some_and(char::is_alphanumeric);
    if is_apostrophe {
        return None;
    }
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        if letter == quote && !escaped {
            return Some(at + letter.len_utf8());
        }
        escaped = letter == '\\' && !escaped;
    }
    (quote == '"').then_some(text.len())
}

/// Puts a placeholder at the end, unless the same one stands there already with no more than a separator between.
fn push(text: &mut String, placeholder: &str) {
    for separator in ["", ".", ":", ",", ", ", "/", "+", " "] {
        let before = text.strip_suffix(separator).filter(|before| before.ends_with(placeholder));
        if let Some(before) = before {
            text.truncate(before.len());
            return;
        }
    }
    text.push_str(placeholder);
}

/// Writes the cause of each parked message that has none, or one of another version, some hundreds at a time: an older version has parked it, or
/// it has come back.
///
/// # Errors
/// As the database says.
pub async fn complete_causes(database: &Database) -> Result<(), Failure> {
    loop {
        let uncaused = Entity::find()
            .select_only()
            .columns([Column::Seq, Column::Attempts, Column::Consumer, Column::Kind, Column::Error])
            .filter(Expr::cust(WITHOUT_CAUSE))
            .order_by_asc(Column::Seq)
            .limit(PAGE)
            .into_tuple::<(i64, i32, String, String, String)>()
            .all(database.read())
            .await?;
        if uncaused.is_empty() {
            return Ok(());
        }
        let causes: Vec<(i64, i32, String)> = uncaused
            .into_iter()
            .map(|(seq, attempts, consumer, kind, error)| (seq, attempts, cause(&consumer, &kind, &error)))
            .collect();
        let written = database.transact(move |transaction| {
            let causes = causes.clone();
            Box::pin(async move { write(transaction, &causes).await })
        });
        written.await?;
    }
}

/// An error belongs to a number of attempts: one that has changed meanwhile keeps no cause.
async fn write(transaction: &storage::Transaction, causes: &[(i64, i32, String)]) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    for run in rows::statements(causes, |(_, _, cause)| cause.len() + 48) {
        let row = |(seq, attempts, cause): &(i64, i32, String)| {
            vec![(*seq).into(), i64::from(*attempts).into(), cause.as_str().into()]
        };
        let given = rows::lookup(backend, "given", &["bigint", "bigint", "text"], run.iter().map(row))?;
        let sql = format!(
            "UPDATE parked SET cause = given.column3 FROM {} \
             WHERE parked.seq = given.column1 AND parked.attempts = given.column2 AND {WITHOUT_CAUSE}",
            given.sql
        );
        transaction.execute_raw(Statement::from_sql_and_values(backend, sql, given.values)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_numbers_and_quoted_values_split_no_cause() {
        for errors in [
            &["fact 7 is refused", "fact 1234 is refused", "fact -7 is refused", "fact 7.5 is refused"][..],
            &[
                r#"the decision was about 3 RUB of "al", and the message is about 4 RUB of "al""#,
                r#"the decision was about -4 RUB of "b\"o", and the message is about 10 RUB of "bob""#,
            ],
            &["no order o-17 of user u2", "no order x9 of user abc-1-d"],
            &["refused: [1, 2, 3]", "refused: [17]"],
            &[r#"unknown: "a", "b""#, r#"unknown: "c""#],
            &["at 2026-01-31T12:00:00.5Z from 10.0.0.1:5432", "at 2025-12-01T00:00:00Z from 127.0.0.1:1"],
            &["column 'a' is wrong", "column 'b c' is wrong"],
        ] {
            let causes: Vec<String> = errors.iter().map(|error| common(error)).collect();
            assert!(causes.windows(2).all(|pair| pair[0] == pair[1]), "{causes:#?}");
        }
    }

    #[test]
    fn what_is_worded_otherwise_is_another_cause() {
        assert_ne!(common("fact 7 is refused"), common("fact 7 fails"));
        assert_eq!(common("it doesn't fit, and isn't there"), "it doesn't fit, and isn't there");
        assert_eq!(common("amount 5 \"is cut"), "amount # \"\"");
        assert_eq!(common(""), "");
        assert!(common(&"é".repeat(9_000)).len() <= 9_000 * 2);
        let one = cause("payments", "a.v1.B", "x 1");
        assert_eq!(one, cause("payments", "a.v1.B", "x 2"));
        assert!(one != cause("orders", "a.v1.B", "x 1") && one != cause("payments", "a.v1.C", "x 1"));
        let digits = one.strip_prefix(MARK).expect("no version before has such a cause");
        assert!(digits.len() == 15 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{one}");
        assert!(WITHOUT_CAUSE.contains(&format!("NOT LIKE '{MARK}%'")));
    }
}
