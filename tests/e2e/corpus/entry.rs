//! A file of the corpus: one message as it was on the wire, and what it meant.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use serde_json::{Map, Value, json};

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) routing_key: String,
    /// AMQP properties that are texts or numbers.
    properties: Value,
    /// AMQP headers, all of them texts.
    headers: Map<String, Value>,
    /// In hexadecimal digits.
    payload: String,
    pub(crate) envelope: Envelope,
    /// The payload as ProtoJSON.
    pub(crate) meaning: Value,
}

/// What the envelope said. The time is in microseconds since the Unix epoch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Envelope {
    pub(crate) id: String,
    pub(crate) kind: String,
    key: String,
    source: String,
    traceparent: Option<String>,
    /// Absent in messages of versions that did not hand it on.
    tracestate: Option<String>,
    /// On whose behalf it was sent, where an issuer says who calls; absent in messages of versions that did not say so.
    subject: Option<String>,
    /// The id of that caller's token.
    token_id: Option<String>,
    create_time: i64,
}

impl From<&messaging::envelope::Envelope> for Envelope {
    fn from(message: &messaging::envelope::Envelope) -> Self {
        Self {
            id: message.id.to_string(),
            kind: message.kind.clone(),
            key: message.key.clone(),
            source: message.source.clone(),
            traceparent: message.traceparent.clone(),
            tracestate: message.tracestate.clone(),
            subject: message.subject.clone(),
            token_id: message.token_id.clone(),
            create_time: message.create_time,
        }
    }
}

impl Entry {
    /// A message as it is on the wire now.
    pub(crate) fn new(
        routing_key: &str,
        properties: &BasicProperties,
        payload: &[u8],
        envelope: Envelope,
        meaning: Value,
    ) -> Result<Self> {
        let headers = properties.headers().as_ref().context("a message of ours has headers")?;
        let text = |value: &AMQPValue| match value {
            AMQPValue::LongString(text) => Some(Value::String(text.to_string())),
            _ => None,
        };
        let headers: Option<Map<String, Value>> =
            headers.inner().iter().map(|(name, value)| Some((name.to_string(), text(value)?))).collect();
        Ok(Self {
            routing_key: routing_key.to_owned(),
            properties: json!({
                "content_type": properties.content_type().as_ref().map(ToString::to_string),
                "delivery_mode": properties.delivery_mode(),
                "message_id": properties.message_id().as_ref().map(ToString::to_string),
                "timestamp": properties.timestamp(),
                "type": properties.kind().as_ref().map(ToString::to_string),
            }),
            headers: headers.context("a header that is no text")?,
            payload: payload.iter().map(|byte| format!("{byte:02x}")).collect(),
            envelope,
            meaning,
        })
    }

    /// All messages of a version, by the names of their files.
    pub(crate) fn of_version(folder: &Path) -> Result<Vec<Self>> {
        let files = fs::read_dir(folder).with_context(|| format!("no corpus at {}", folder.display()))?;
        let mut files: Vec<_> = files.flatten().map(|file| file.path()).collect();
        files.sort_unstable();
        let entries = files.iter().map(|file| {
            let entry = Self::parse(&serde_json::from_str(&fs::read_to_string(file)?)?);
            entry.with_context(|| format!("{} is no message", file.display()))
        });
        entries.collect()
    }

    fn parse(file: &Value) -> Option<Self> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let envelope = &file["envelope"];
        Some(Self {
            routing_key: text(&file["routing_key"])?,
            properties: file["properties"].clone(),
            headers: file["headers"].as_object()?.clone(),
            payload: text(&file["payload"])?,
            envelope: Envelope {
                id: text(&envelope["id"])?,
                kind: text(&envelope["kind"])?,
                key: text(&envelope["key"])?,
                source: text(&envelope["source"])?,
                traceparent: text(&envelope["traceparent"]),
                tracestate: text(&envelope["tracestate"]),
                subject: text(&envelope["subject"]),
                token_id: text(&envelope["token_id"]),
                create_time: envelope["create_time"].as_i64()?,
            },
            meaning: file["meaning"].clone(),
        })
    }

    /// As a file.
    pub(crate) fn to_json(&self) -> Value {
        let Envelope { id, kind, key, source, traceparent, tracestate, subject, token_id, create_time } =
            &self.envelope;
        json!({
            "routing_key": self.routing_key,
            "properties": self.properties,
            "headers": self.headers,
            "payload": self.payload,
            "envelope": {
                "id": id,
                "kind": kind,
                "key": key,
                "source": source,
                "traceparent": traceparent,
                "tracestate": tracestate,
                "subject": subject,
                "token_id": token_id,
                "create_time": create_time,
            },
            "meaning": self.meaning,
        })
    }

    /// Its kind, and what sets it apart from others of that kind.
    pub(crate) fn name(&self) -> String {
        let decided = self.meaning.get("payment").unwrap_or(&self.meaning);
        let state = self.envelope.tracestate.as_ref().map(|_| "tracestate");
        let subject = self.envelope.subject.as_ref().map(|_| "subject");
        let parts = [decided["outcome"].as_str(), decided["reason"].as_str(), state, subject];
        let parts = [Some(self.envelope.kind.as_str())].into_iter().chain(parts).flatten();
        parts.collect::<Vec<_>>().join("-")
    }

    /// The bytes of the payload.
    pub(crate) fn payload(&self) -> Result<Vec<u8>> {
        ensure!(self.payload.len().is_multiple_of(2), "half a byte");
        let byte = |at: usize| u8::from_str_radix(&self.payload[at..at + 2], 16);
        Ok((0..self.payload.len()).step_by(2).map(byte).collect::<Result<_, _>>()?)
    }

    /// Properties and headers as AMQP has them.
    pub(crate) fn properties(&self) -> Result<BasicProperties> {
        let text = |name: &str| self.properties[name].as_str().with_context(|| format!("no property {name}"));
        let number =
            |name: &str| self.properties[name].as_u64().with_context(|| format!("no property {name}"));
        let mut headers = FieldTable::default();
        for (name, value) in &self.headers {
            let value = value.as_str().with_context(|| format!("{name} is no text"))?;
            headers.insert(name.as_str().into(), AMQPValue::LongString(value.into()));
        }
        Ok(BasicProperties::default()
            .with_content_type(text("content_type")?.into())
            .with_delivery_mode(u8::try_from(number("delivery_mode")?)?)
            .with_message_id(text("message_id")?.into())
            .with_timestamp(number("timestamp")?)
            .with_type(text("type")?.into())
            .with_headers(headers))
    }
}
