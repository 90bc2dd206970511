//! The attributes of a CloudEvent as they came: headers with either prefix of the [AMQP binding](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md)
//! (binary mode), or members of a JSON object (structured mode).

use lapin::types::{AMQPValue, FieldTable};
use prost_types::Timestamp;
use serde_json::{Map, Value};

/// Before the name of an attribute that is a header. Names here have it; JSON objects have none.
const PREFIX: &str = "cloudEvents:";
const MICROS: i64 = 1_000_000;

/// Where the attributes of a message are.
pub(super) enum Attributes<'a> {
    /// Binary mode.
    Headers(Option<&'a FieldTable>),
    /// Structured mode.
    Json(&'a Map<String, Value>),
}

/// A value, as far as an attribute can have it.
enum Found<'a> {
    Text(&'a str),
    /// Since the Unix epoch: a timestamp of AMQP 0-9-1, as which RabbitMQ also carries one of AMQP 1.0 over.
    Seconds(u64),
    /// Since the Unix epoch: what is a timestamp in AMQP 1.0 and an integer to a client that knows no such type.
    Millis(i64),
    Other,
}

impl<'a> Attributes<'a> {
    /// An attribute that a message must have.
    ///
    /// # Errors
    /// When it is missing, or no text.
    pub(super) fn required(&self, name: &str) -> Result<&'a str, String> {
        self.text(name).unwrap_or_else(|| Err(format!("{name} is missing")))
    }

    /// An attribute or header that is text, if it is there.
    pub(super) fn text(&self, name: &str) -> Option<Result<&'a str, String>> {
        Some(match self.find(name)? {
            Found::Text(text) => Ok(text),
            Found::Seconds(_) | Found::Millis(_) | Found::Other => Err(format!("{name} is no text")),
        })
    }

    /// An attribute that is a moment, in microseconds since the Unix epoch.
    ///
    /// # Errors
    /// When it is missing, none, or further away than 64 bits reach.
    pub(super) fn micros(&self, name: &str) -> Result<i64, String> {
        let micros = match self.find(name) {
            None => return Err(format!("{name} is missing")),
            Some(Found::Other) => return Err(format!("{name} is no time")),
            Some(Found::Seconds(seconds)) => {
                i64::try_from(seconds).ok().and_then(|seconds| seconds.checked_mul(MICROS))
            }
            Some(Found::Millis(millis)) => millis.checked_mul(1_000),
            Some(Found::Text(text)) => {
                let Timestamp { seconds, nanos } =
                    text.parse().map_err(|error| format!("{name} is no RFC 3339 time: {error}"))?;
                seconds.checked_mul(MICROS).and_then(|whole| whole.checked_add(i64::from(nanos) / 1_000))
            }
        };
        micros.ok_or_else(|| format!("{name} is out of range"))
    }

    fn find(&self, name: &str) -> Option<Found<'a>> {
        match self {
            Self::Headers(headers) => {
                let headers = (*headers)?.inner();
                // The other prefix of the binding, which JMS takes for a name.
                let found = headers.get(name).or_else(|| headers.get(name.replacen(':', "_", 1).as_str()));
                in_header(found?)
            }
            Self::Json(members) => match members.get(name.strip_prefix(PREFIX).unwrap_or(name))? {
                Value::Null => None,
                Value::String(text) => Some(Found::Text(text)),
                _ => Some(Found::Other),
            },
        }
    }
}

fn in_header(value: &AMQPValue) -> Option<Found<'_>> {
    Some(match value {
        AMQPValue::Void => return None,
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).map_or(Found::Other, Found::Text),
        AMQPValue::ShortString(text) => Found::Text(text.as_str()),
        AMQPValue::Timestamp(seconds) => Found::Seconds(*seconds),
        AMQPValue::LongLongInt(millis) => Found::Millis(*millis),
        AMQPValue::LongInt(millis) => Found::Millis(i64::from(*millis)),
        _ => Found::Other,
    })
}
