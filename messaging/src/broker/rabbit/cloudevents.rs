//! Envelope to AMQP message and back: a CloudEvent, written in binary mode and read in structured mode, too.
//!
//! The attributes are headers with a prefix of the [AMQP binding](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/amqp-protocol-binding.md),
//! which is written for AMQP 1.0; RabbitMQ carries headers of 0-9-1 over as its application properties. Identifier, type
//! and time are AMQP properties as well, for the broker's own tools; they are not read back. Binary mode is read with either prefix,
//! and structured mode in JSON. One form is written: the one that every released version reads.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use lapin::{
    BasicProperties,
    message::Delivery,
    types::{AMQPValue, FieldTable, ShortString},
};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::attributes::Attributes;
use crate::{
    broker::Undecodable,
    envelope::{CONTENT_TYPE, Envelope, read_tracestate},
    origin::storable,
};

const SPEC_VERSION: &str = "1.0";
/// The content type of an event as a whole.
const STRUCTURED: &str = "application/cloudevents+json";
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
            let token_id = Value::from(token_id.as_str());
            header("cloudEvents:authclaims", &format!(r#"{{"jti":{token_id}}}"#));
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
pub(super) fn decode(delivery: Delivery) -> Result<Envelope, Box<Undecodable>> {
    let payload = Bytes::from(delivery.data);
    envelope(&delivery.properties, &payload).map_err(|reason| {
        let headers = describe(&delivery.exchange, &delivery.routing_key, &delivery.properties);
        let [kind, key, source] = legible(&delivery.properties, &payload);
        Box::new(Undecodable { reason, headers, payload, kind, key, source })
    })
}

/// Kind, key and source of what is no envelope, as far as they can be read: an operator finds it by them.
fn legible(properties: &BasicProperties, body: &Bytes) -> [Option<String>; 3] {
    let is_event = is(content_type(properties), STRUCTURED);
    let event: Option<Map<String, Value>> = is_event.then(|| serde_json::from_slice(body).ok()).flatten();
    let attributes = event.as_ref().map_or_else(|| headers(properties), Attributes::Json);
    let text = |name| attributes.text(name).and_then(Result::ok).filter(|text| !text.is_empty());
    let kind = text("cloudEvents:type").or(properties.kind().as_ref().map(ShortString::as_str));
    [kind, text("cloudEvents:partitionkey"), text("cloudEvents:source")].map(|text| text.map(str::to_owned))
}

fn content_type(properties: &BasicProperties) -> Option<&str> {
    properties.content_type().as_ref().map(ShortString::as_str)
}

/// The identifier of a message, if it is one of ours.
pub(super) fn id(properties: &BasicProperties) -> Option<Uuid> {
    headers(properties).required("cloudEvents:id").ok()?.parse().ok()
}

fn headers(properties: &BasicProperties) -> Attributes<'_> {
    Attributes::Headers(properties.headers().as_ref())
}

fn envelope(properties: &BasicProperties, body: &Bytes) -> Result<Envelope, String> {
    let content_type = content_type(properties);
    if is(content_type, CONTENT_TYPE) {
        read(&headers(properties), body.clone())
    } else if is(content_type, STRUCTURED) {
        structured(body)
    } else {
        let content_type = or_absent(content_type);
        Err(format!("the content type is {content_type}, neither {CONTENT_TYPE} nor {STRUCTURED}"))
    }
}

/// What a message has, in quotes: these are not what errors have in common.
fn or_absent(text: Option<&str>) -> String {
    text.map_or_else(|| "absent".to_owned(), |text| format!("{text:?}"))
}

/// Whether it is this media type, with whatever parameters.
fn is(content_type: Option<&str>, media_type: &str) -> bool {
    let essence = content_type.and_then(|text| text.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

/// The whole event as JSON (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).
fn structured(body: &Bytes) -> Result<Envelope, String> {
    let event: Map<String, Value> =
        serde_json::from_slice(body).map_err(|error| format!("the event is no JSON object: {error}"))?;
    let attributes = Attributes::Json(&event);
    let content_type = attributes.text("datacontenttype").transpose()?;
    if !is(content_type, CONTENT_TYPE) {
        let content_type = or_absent(content_type);
        return Err(format!("the datacontenttype is {content_type}, not {CONTENT_TYPE}"));
    }
    if event.get("data").is_some_and(|data| !data.is_null()) {
        return Err("protobuf goes as data_base64, not as data".to_owned());
    }
    // A message without a field has no bytes, and is no data to some clients.
    let data = attributes.text("data_base64").transpose()?.unwrap_or_default();
    let payload = BASE64_STANDARD.decode(data).map_err(|error| format!("data_base64: {error}"))?;
    read(&attributes, payload.into())
}

fn read(attributes: &Attributes<'_>, payload: Bytes) -> Result<Envelope, String> {
    let version = attributes.required("cloudEvents:specversion")?;
    if version != SPEC_VERSION {
        return Err(format!("version {version:?} of CloudEvents is not known"));
    }
    let id = attributes.required("cloudEvents:id")?;
    let kind = attributes.required("cloudEvents:type")?;
    if kind.is_empty() {
        return Err("cloudEvents:type is empty".to_owned());
    }
    let traceparent = trace(attributes, "traceparent", "cloudEvents:traceparent");
    let traceparent = traceparent.map(|text| text.map(str::to_owned)).transpose()?;
    // One that cannot be read is no reason to park a message.
    let tracestate = trace(attributes, "tracestate", "cloudEvents:tracestate");
    let tracestate = tracestate.and_then(Result::ok).filter(|_| traceparent.is_some());
    let (subject, token_id) = principal(attributes).unzip();
    Ok(Envelope {
        id: id.parse().map_err(|error| format!("cloudEvents:id is no UUID: {error}"))?,
        kind: kind.to_owned(),
        key: attributes.required("cloudEvents:partitionkey")?.to_owned(),
        source: attributes.required("cloudEvents:source")?.to_owned(),
        payload,
        traceparent,
        tracestate: tracestate.and_then(read_tracestate),
        subject,
        token_id: token_id.flatten(),
        create_time: attributes.micros("cloudEvents:time")?,
    })
}

/// A header of W3C's, or the attribute of the same name ([Distributed Tracing](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/extensions/distributed-tracing.md)).
fn trace<'a>(attributes: &Attributes<'a>, header: &str, attribute: &str) -> Option<Result<&'a str, String>> {
    attributes.text(header).or_else(|| attributes.text(attribute))
}

/// The subject on whose behalf a message was written, and the id of its token. What cannot be read is left out: it decides nothing.
fn principal(attributes: &Attributes<'_>) -> Option<(String, Option<String>)> {
    let subject = attributes.text("cloudEvents:authid")?.ok().and_then(storable)?;
    let claims = attributes.text("cloudEvents:authclaims").and_then(Result::ok);
    let claims: Option<Value> = claims.and_then(|json| serde_json::from_str(json).ok());
    let token_id = claims.as_ref().and_then(|claims| storable(claims["jti"].as_str()?));
    Some((subject.to_owned(), token_id.map(str::to_owned)))
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
