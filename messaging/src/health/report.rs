//! What a process says of its parts to the other processes of its service: part of its row in the table `processes`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::condition::{Cause, Condition};

/// What a process says of its parts.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// The parts that do not do their work, by their names. What is paused every process knows by itself.
    pub parts: BTreeMap<String, Condition>,
    /// Messages a second by the relay or consumer: see [`super::Health::per_second`].
    pub rates: BTreeMap<String, f64>,
}

impl Report {
    pub(crate) fn to_json(&self) -> String {
        let parts: Map<String, Value> = self
            .parts
            .iter()
            .filter_map(|(name, condition)| Some((name.clone(), written(condition)?)))
            .collect();
        json!({ "parts": parts, "rates": self.rates }).to_string()
    }

    /// What another version has written that this one does not know is left out.
    pub(crate) fn from_json(text: &str) -> Self {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let members = |name: &str| value.get(name).and_then(Value::as_object).into_iter().flatten();
        Self {
            parts: members("parts").filter_map(|(name, part)| Some((name.clone(), read(part)?))).collect(),
            rates: members("rates").filter_map(|(of, rate)| Some((of.clone(), rate.as_f64()?))).collect(),
        }
    }
}

fn written(condition: &Condition) -> Option<Value> {
    let (state, cause, reason, since) = match condition {
        Condition::Degraded { cause, reason, since } => ("degraded", cause, reason, since),
        Condition::Failed { cause, reason, since } => ("failed", cause, reason, since),
        Condition::Ok | Condition::Paused { .. } => return None,
    };
    Some(json!({ "state": state, "cause": name(*cause), "reason": reason, "since": since }))
}

fn read(part: &Value) -> Option<Condition> {
    let text = |name: &str| part.get(name).and_then(Value::as_str);
    let cause = [Cause::Starting, Cause::Broker, Cause::Database, Cause::Messages]
        .into_iter()
        .find(|cause| Some(name(*cause)) == text("cause"))?;
    let (reason, since) = (text("reason")?.to_owned(), part.get("since")?.as_i64()?);
    match text("state")? {
        "degraded" => Some(Condition::Degraded { cause, reason, since }),
        "failed" => Some(Condition::Failed { cause, reason, since }),
        _ => None,
    }
}

const fn name(cause: Cause) -> &'static str {
    match cause {
        Cause::Starting => "starting",
        Cause::Broker => "broker",
        Cause::Database => "database",
        Cause::Messages => "messages",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let degraded =
            Condition::Degraded { cause: Cause::Messages, reason: "a \"lock\"\0".to_owned(), since: 7 };
        let failed = Condition::Failed { cause: Cause::Broker, reason: String::new(), since: 8 };
        let report = Report {
            parts: [("consumer.0".to_owned(), degraded), ("relay".to_owned(), failed)].into(),
            rates: [("payments".to_owned(), 12.5)].into(),
        };
        assert_eq!(Report::from_json(&report.to_json()), report);
        // PostgreSQL takes no U+0000 in a text.
        assert!(!report.to_json().contains('\0'));
        for other in ["", "[]", r#"{"parts":{"relay":{"state":"lost"}},"rates":{"payments":"many"}}"#] {
            assert_eq!(Report::from_json(other), Report::default());
        }
    }
}
