//! Envelope to AMQP message and back: a CloudEvent in binary mode.
//!
//! The attributes are headers with the prefix of the [AMQP binding](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md),
//! which is written for AMQP 1.0; RabbitMQ carries headers of 0-9-1 over as its application properties. Identifier, type
//! and time are AMQP properties as well, for the broker's own tools; they are not read back.

use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};
use prost_types::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    broker::Undecodable,
    envelope::{CONTENT_TYPE, Envelope, read_tracestate},
    origin::storable,
};

const SPEC_VERSION: &str = "1.0";
const MICROS: i64 = 1_000_000;

/// An end user of an application (the extension [Auth Context](https://github.com/cloudevents/spec/blob/main/cloudevents/extensions/authcontext.md)).
const APP_USER: &str = "app_user";

/// Survives a restart of the broker. Quorum queues keep every message, but a mirror or shovel looks at this.
const PERSISTENT: u8 = 2;

/// The properties of an envelope's message.
///
/// # Errors
/// When the kind is longer than the 255 bytes of an AMQP property.
pub(super) fn properties(envelope: &Envelope) -> Result<BasicProperties, String> {
    let kind = ShortString::try_new(&envelope.kind).map_err(|too_long| too_long.to_string())?;
    let (seconds, micros) =
        (envelope.create_time.div_euclid(MICROS), envelope.create_time.rem_euclid(MICROS));
    // Below 10^9.
    let nanos = i32::try_from(micros * 1_000).unwrap_or_default();
    let id = envelope.id.to_string();
    let mut headers = FieldTable::default();
    let mut header = |name: &str, value: &str| {
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    };
    header("cloudEvents:specversion", SPEC_VERSION);
    header("cloudEvents:id", &id);
    header("cloudEvents:source", &envelope.source);
    header("cloudEvents:type", &envelope.kind);
    header("cloudEvents:time", &Timestamp { seconds, nanos }.to_string());
    header("cloudEvents:partitionkey", &envelope.key);
    if let Some(subject) = &envelope.subject {
        header("cloudEvents:authtype", APP_USER);
        header("cloudEvents:authid", subject);
        if let Some(token_id) = &envelope.token_id {
            header("cloudEvents:authclaims", &json!({ "jti": token_id }).to_string());
        }
    }
    if let Some(traceparent) = &envelope.traceparent {
        header("traceparent", traceparent);
    }
    if let Some(tracestate) = &envelope.tracestate {
        header("tracestate", tracestate);
    }
    Ok(BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(PERSISTENT)
        .with_message_id(id.into())
        .with_type(kind)
        .with_timestamp(u64::try_from(seconds).unwrap_or_default())
        .with_headers(headers))
}

/// The envelope of a delivered message, or everything about what came instead.
pub(super) fn decode(delivery: Delivery) -> Result<Envelope, Undecodable> {
    let payload = Bytes::from(delivery.data);
    envelope(&delivery.properties, &payload).map_err(|reason| Undecodable {
        reason,
        headers: describe(&delivery.exchange, &delivery.routing_key, &delivery.properties),
        payload,
    })
}

/// The identifier of a message, if it is one of ours.
pub(super) fn id(properties: &BasicProperties) -> Option<Uuid> {
    attribute(properties, "cloudEvents:id").ok()?.parse().ok()
}

fn envelope(properties: &BasicProperties, payload: &Bytes) -> Result<Envelope, String> {
    match properties.content_type().as_ref().map(ShortString::as_str) {
        Some(CONTENT_TYPE) => {}
        other => return Err(format!("the content type is {other:?}, not {CONTENT_TYPE:?}")),
    }
    let version = attribute(properties, "cloudEvents:specversion")?;
    if version != SPEC_VERSION {
        return Err(format!("version {version:?} of CloudEvents is not known"));
    }
    let id = attribute(properties, "cloudEvents:id")?;
    let kind = attribute(properties, "cloudEvents:type")?;
    if kind.is_empty() {
        return Err("cloudEvents:type is empty".to_owned());
    }
    let traceparent = header(properties, "traceparent").map(|text| text.map(str::to_owned)).transpose()?;
    // One that cannot be read is no reason to park a message.
    let tracestate = header(properties, "tracestate").and_then(Result::ok).filter(|_| traceparent.is_some());
    let (subject, token_id) = principal(properties).unzip();
    Ok(Envelope {
        id: id.parse().map_err(|error| format!("cloudEvents:id is no UUID: {error}"))?,
        kind: kind.to_owned(),
        key: attribute(properties, "cloudEvents:partitionkey")?.to_owned(),
        source: attribute(properties, "cloudEvents:source")?.to_owned(),
        payload: payload.clone(),
        traceparent,
        tracestate: tracestate.and_then(read_tracestate),
        subject,
        token_id: token_id.flatten(),
        create_time: micros(attribute(properties, "cloudEvents:time")?)?,
    })
}

/// The subject on whose behalf a message was written, and the id of its token. What cannot be read is left out: it decides nothing.
fn principal(properties: &BasicProperties) -> Option<(String, Option<String>)> {
    let subject = header(properties, "cloudEvents:authid")?.ok().and_then(storable)?;
    let claims = header(properties, "cloudEvents:authclaims").and_then(Result::ok);
    let claims: Option<Value> = claims.and_then(|json| serde_json::from_str(json).ok());
    let token_id = claims.as_ref().and_then(|claims| storable(claims["jti"].as_str()?));
    Some((subject.to_owned(), token_id.map(str::to_owned)))
}

fn micros(time: &str) -> Result<i64, String> {
    let Timestamp { seconds, nanos } =
        time.parse().map_err(|error| format!("cloudEvents:time is no RFC 3339 time: {error}"))?;
    let micros = seconds.checked_mul(MICROS).and_then(|whole| whole.checked_add(i64::from(nanos) / 1_000));
    micros.ok_or_else(|| "cloudEvents:time is out of range".to_owned())
}

fn attribute<'a>(properties: &'a BasicProperties, name: &str) -> Result<&'a str, String> {
    header(properties, name).unwrap_or_else(|| Err(format!("{name} is missing")))
}

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<Result<&'a str, String>> {
    let text = match properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
        AMQPValue::ShortString(text) => Some(text.as_str()),
        _ => None,
    };
    Some(text.ok_or_else(|| format!("{name} is no text")))
}

/// A JSON object of what came with a message.
fn describe(exchange: &ShortString, routing_key: &ShortString, properties: &BasicProperties) -> String {
    let text = |property: &Option<ShortString>| property.as_ref().map(ToString::to_string);
    json!({
        "exchange": exchange.as_str(),
        "routing_key": routing_key.as_str(),
        "content_type": text(properties.content_type()),
        "content_encoding": text(properties.content_encoding()),
        "message_id": text(properties.message_id()),
        "correlation_id": text(properties.correlation_id()),
        "type": text(properties.kind()),
        "app_id": text(properties.app_id()),
        "timestamp": properties.timestamp(),
        "headers": properties.headers().as_ref().map(object),
    })
    .to_string()
}

fn object(table: &FieldTable) -> Value {
    table.inner().iter().map(|(name, value)| (name.to_string(), readable(value))).collect()
}

fn readable(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::LongString(text) => json!(text.to_string()),
        AMQPValue::ShortString(text) => json!(text.as_str()),
        AMQPValue::Boolean(value) => json!(value),
        AMQPValue::LongInt(value) => json!(value),
        AMQPValue::LongLongInt(value) => json!(value),
        AMQPValue::Timestamp(value) => json!(value),
        AMQPValue::FieldTable(table) => object(table),
        AMQPValue::FieldArray(array) => array.as_slice().iter().map(readable).collect(),
        other => json!(format!("{other:?}")),
    }
}
