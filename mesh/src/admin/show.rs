//! What was answered, as a table for a person or as ProtoJSON for a machine.

use std::sync::LazyLock;

use anyhow::{Context as _, anyhow};
use chassis::{
    clock::{Clock as _, Micros, SystemClock},
    status::Fault,
};
use ordermesh::DESCRIPTOR_SET;
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage};
use prost_types::{Duration, Struct, Timestamp};
use serde_json::{Value, json};
use tonic::Status;
use transcode::Type;

use super::service::Service;
pub(super) use crate::out::lines;

/// Every contract. They were compiled with this binary.
static CONTRACTS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(DESCRIPTOR_SET).unwrap_or_default());

/// The ProtoJSON of an answer, as the admin API over HTTP has it.
///
/// # Errors
/// When the answer is of no contract that is known.
pub(super) fn json_of<M: Message + Name>(message: &M) -> anyhow::Result<Value> {
    let descriptor = CONTRACTS.get_message_by_name(&M::full_name());
    let descriptor = descriptor.ok_or_else(|| anyhow!("{} is in no contract", M::full_name()))?;
    let mut json = serde_json::from_slice(&Type::new(&descriptor).json(&message.encode_to_vec())?)?;
    whole(&mut json);
    Ok(json)
}

/// Numbers without a fraction as such: those of `google.protobuf.Struct` are all floating-point, and amounts of money among them.
fn whole(value: &mut Value) {
    /// Below 2^53 every whole number is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) => {
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0);
            if let Some(float) = whole.filter(|float| float.abs() < EXACT) {
                *value = (float as i64).into();
            }
        }
        Value::Array(values) => values.iter_mut().for_each(whole),
        Value::Object(members) => members.values_mut().for_each(whole),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// The ProtoJSON of an answer with a list of this name, which is there when it is empty too.
///
/// # Errors
/// As [`json_of`].
pub(super) fn list_of<M: Message + Name>(name: &str, message: &M) -> anyhow::Result<Value> {
    let mut answer = json_of(message)?;
    if answer[name].is_null() {
        answer[name] = json!([]);
    }
    Ok(answer)
}

/// A list as the admin API has it: the member of this name.
///
/// # Errors
/// As [`json_of`].
pub(super) fn all_json<M: Message + Name>(name: &str, messages: &[M]) -> anyhow::Result<Value> {
    let all: anyhow::Result<Vec<Value>> = messages.iter().map(json_of).collect();
    Ok(json!({ (name): all? }))
}

/// A JSON object as `google.protobuf.Struct`.
///
/// # Errors
/// When it is none.
pub(super) fn to_struct(object: &Value) -> anyhow::Result<Struct> {
    let descriptor =
        CONTRACTS.get_message_by_name("google.protobuf.Struct").context("no contract has objects")?;
    let read = DynamicMessage::deserialize(descriptor, object)?;
    Ok(Struct::decode(read.encode_to_vec().as_slice())?)
}

/// Prints what a service has answered as every command does: below its name.
///
/// # Errors
/// When it cannot be written.
pub(super) fn answer(service: Service, answer: &Value) -> anyhow::Result<()> {
    json(&json!({ (service.name()): answer }))
}

/// Prints a line of JSON.
///
/// # Errors
/// When it cannot be written.
pub(super) fn json(value: &Value) -> anyhow::Result<()> {
    lines(&[value.to_string()])
}

/// The lines of a table: columns as wide as they have to be, and the last one as it comes.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> Vec<String> {
    let heads = heads.map(str::to_owned);
    let all = || [&heads].into_iter().chain(rows);
    let width = |column: usize| all().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(line).collect()
}

/// How many rows are asked for.
///
/// # Errors
/// When it is none, or no number.
pub(super) fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be 1 or more".to_owned()),
        Ok(limit) => Ok(limit),
        Err(error) => Err(format!("is no number: {error}")),
    }
}

/// A moment in UTC; a dash for none.
pub(super) fn moment(time: Option<&Timestamp>) -> String {
    time.map_or_else(|| "-".to_owned(), Timestamp::to_string)
}

/// How long ago that is; `None` for no time.
pub(super) fn age(time: Option<&Timestamp>) -> Option<Micros> {
    let time = time?;
    let then = time.seconds.saturating_mul(1_000_000) + i64::from(time.nanos) / 1_000;
    Some(SystemClock.now().saturating_sub(then).max(0))
}

/// The same for a person.
pub(super) fn ago(time: Option<&Timestamp>) -> String {
    let Some(micros) = age(time) else { return "-".to_owned() };
    let nanos = i32::try_from(micros % 1_000_000 * 1_000).unwrap_or_default();
    span(Some(&Duration { seconds: micros / 1_000_000, nanos }))
}

/// A time in the units of a person: `350 ms`, `12.3 s`, `4 min`, `5 h`, `6 d`; a dash for none.
pub(super) fn span(time: Option<&Duration>) -> String {
    let Some(time) = time else { return "-".to_owned() };
    let millis = time.seconds.saturating_mul(1_000) + i64::from(time.nanos) / 1_000_000;
    match millis {
        ..1_000 => format!("{millis} ms"),
        1_000..120_000 => format!("{}.{} s", millis / 1_000, millis % 1_000 / 100),
        120_000..7_200_000 => format!("{} min", millis / 60_000),
        7_200_000..172_800_000 => format!("{} h", millis / 3_600_000),
        _ => format!("{} d", millis / 86_400_000),
    }
}

/// A text without line breaks, and not longer than a person reads.
pub(super) fn short(text: &str, most: usize) -> String {
    let line = text.split_whitespace().map(printable).collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        line
    } else {
        format!("{}…", line.chars().take(most).collect::<String>())
    }
}

/// Why something could not be asked or done. What a service answers is said in its own words: its code is for a program.
pub(super) fn error(error: &anyhow::Error) -> String {
    let words = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref::<Status>() {
        Some(status) if status.message().is_empty() => status.code().description().to_owned(),
        Some(status) => {
            let reason = Fault::from_status(status).map(|fault| format!(" ({})", fault.reason.as_str()));
            format!("{}{}", status.message(), reason.unwrap_or_default())
        }
        None => cause.to_string(),
    };
    let mut said = Vec::new();
    for cause in error.chain() {
        said.push(words(cause));
        if cause.is::<Status>() {
            break;
        }
    }
    said.join(": ")
}

/// The same for a program, with the reason where a service has given one.
pub(super) fn error_json(error: &anyhow::Error) -> Value {
    let fault = error.chain().find_map(|cause| Fault::from_status(cause.downcast_ref::<Status>()?));
    let reason = fault.map(|fault| fault.reason.as_str());
    serde_json::json!({ "error": self::error(error), "reason": reason })
}

/// A dash for an empty text.
pub(super) fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { printable(text) }
}

/// A text in which nothing is an order to the terminal: whoever publishes messages writes what is shown of them.
fn printable(text: &str) -> String {
    text.replace(char::is_control, "�")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_the_units_of_a_person() {
        let said = [(0, 350), (12, 340), (119, 0), (240, 0), (18_000, 0), (600_000, 0)]
            .map(|(seconds, millis)| span(Some(&Duration { seconds, nanos: millis * 1_000_000 })));
        assert_eq!(said, ["350 ms", "12.3 s", "119.0 s", "4 min", "5 h", "6 d"]);
        assert_eq!(span(None), "-");
    }

    #[test]
    fn amounts_have_no_fraction() {
        let mut json = serde_json::json!({ "before": [996_577.0, 0.5, -2.0], "after": { "n": 2.0 } });
        whole(&mut json);
        assert_eq!(json.to_string(), r#"{"before":[996577,0.5,-2],"after":{"n":2}}"#);
    }

    #[test]
    fn columns_are_as_wide_as_they_have_to_be() {
        let rows = [["1".to_owned(), "äöü".to_owned(), "x".to_owned()]];
        assert_eq!(table(["number", "b", "c"], &rows), ["number  b    c", "1       äöü  x"]);
        assert_eq!(short("a\n b  cdef", 5), "a b c…");
        assert_eq!((short("\x1b[2J", 9), or_dash("\x07")), ("�[2J".to_owned(), "�".to_owned()));
    }
}
