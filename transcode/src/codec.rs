//! JSON to wire bytes and wire bytes to JSON, by the table of routes: the only door between HTTP and gRPC.
//!
//! Callers see bytes on both sides and no message, so that how the bytes are made can change behind these functions.

use bytes::Bytes;
use prost::DecodeError;
use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor};
use serde::ser::Error as _;

use crate::{
    bind::{self, Input, report::RequestError},
    direct::{
        self,
        fallback::NoJson,
        plan::{Message, Plans},
        read::Reader,
        render,
        wire::{DELIMITED, VARINT, Wire},
    },
    payload::{self, Payload},
    reflect::{
        self,
        decode::{MOST_BYTES, Unreadable, decode},
        print::Unprintable,
    },
    routes::route::Route,
};

/// A request as it goes to the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The message.
    pub wire: Bytes,
    /// Names in the request that the contract does not know; always empty unless lenient.
    pub ignored: Vec<String>,
}

/// A response as it goes to the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// Canonical ProtoJSON, without line breaks.
    pub json: Vec<u8>,
    /// Its position in a stream, when it has one.
    pub version: Option<i64>,
}

/// The longest JSON that is made of a response, in bytes: a byte of the wire may become many, and nobody knows how many before.
pub const MAX_JSON_BYTES: usize = 64 << 20;

/// Why a response cannot be printed as JSON: the service and the edge do not agree on the contract, or there is too much of it.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// The bytes are not a message of the contract.
    #[error("the response cannot be decoded")]
    Decode(#[from] DecodeError),
    /// The message has no JSON form: a timestamp out of range, an Any of an unknown type.
    #[error("the response cannot be printed as JSON")]
    Encode(#[from] serde_json::Error),
    /// Its JSON is longer than [`MAX_JSON_BYTES`], or takes more memory on the way there than it may.
    #[error("the response is longer than {} MiB as JSON, or on the way there", MAX_JSON_BYTES >> 20)]
    TooLong,
}

impl From<Unreadable> for ResponseError {
    fn from(error: Unreadable) -> Self {
        match error {
            Unreadable::Decode(error) => Self::Decode(error),
            Unreadable::TooLarge => Self::TooLong,
        }
    }
}

impl From<Unprintable> for ResponseError {
    fn from(error: Unprintable) -> Self {
        match error {
            Unprintable::NoForm(error) => Self::Encode(error),
            Unprintable::TooLong => Self::TooLong,
        }
    }
}

/// One type of message both ways, without a route around it.
pub struct Type {
    plans: Plans,
    place: usize,
}

impl Type {
    /// Compiles the tables of a type and of all that it can hold.
    #[must_use]
    pub fn new(descriptor: &MessageDescriptor) -> Self {
        let mut plans = Plans::default();
        let place = plans.add(descriptor);
        Self { plans, place }
    }

    /// Makes a message's wire bytes from its JSON.
    ///
    /// # Errors
    /// Every violation.
    pub fn wire(&self, json: &[u8], lenient: bool) -> Result<Vec<u8>, RequestError> {
        let (plans, message) = (&self.plans, self.plans.message(self.place));
        match direct::message(Reader { plans }, message, json) {
            Some(wire) => Ok(wire),
            None => Ok(reflect::encode::message(&bind::message_of(&message.descriptor, json, lenient)?)),
        }
    }

    /// A path in the message in the names that it has in JSON, as [`Route::json_path`] has it.
    #[must_use]
    pub fn json_path(&self, path: &str) -> String {
        bind::names::json_path(&self.plans.message(self.place).descriptor, path)
    }

    /// Makes a message's JSON from its wire bytes.
    ///
    /// # Errors
    /// Bytes that are no such message.
    pub fn json(&self, wire: &[u8]) -> Result<Vec<u8>, ResponseError> {
        let message = self.plans.message(self.place);
        if let Some(json) = rendered(&self.plans, message, wire, MAX_JSON_BYTES)? {
            return Ok(json);
        }
        message_to_json(&message.descriptor, wire)
    }
}

/// Makes the JSON of a message whose type no route has, such as a detail of an error.
///
/// # Errors
/// Bytes that are no such message, or one without a JSON form.
pub fn message_to_json(descriptor: &MessageDescriptor, wire: &[u8]) -> Result<Vec<u8>, ResponseError> {
    let (message, _) = decode(descriptor.clone(), wire, MOST_BYTES)?;
    Ok(reflect::print::message(&message, MAX_JSON_BYTES)?)
}

impl ResponseError {
    /// Whether the bytes were no message, and not merely one without a JSON form.
    #[must_use]
    pub fn is_decode(&self) -> bool {
        matches!(self, Self::Decode(_))
    }
}

/// Makes the request's wire bytes from its HTTP parts.
///
/// # Errors
/// Every violation.
pub fn request_from_json(route: &Route, input: &Input<'_>, lenient: bool) -> Result<Encoded, RequestError> {
    match direct::request(route, input) {
        Some(wire) => Ok(Encoded { wire: wire.into(), ignored: Vec::new() }),
        None => request_by_reflection(route, input, lenient),
    }
}

fn request_by_reflection(route: &Route, input: &Input<'_>, lenient: bool) -> Result<Encoded, RequestError> {
    let (message, ignored) = bind::bind(route, input, lenient)?;
    Ok(Encoded { wire: reflect::encode::message(&message).into(), ignored })
}

/// Makes the HTTP body of a response, or of one message of a stream.
///
/// # Errors
/// A response that is not of the contract.
pub fn response_to_json(route: &Route, wire: Bytes) -> Result<Decoded, ResponseError> {
    let rpc = &route.rpc;
    let message = rpc.plans.message(rpc.output_place);
    let json = route
        .response_body
        .is_none()
        .then(|| rendered(&rpc.plans, message, &wire, MAX_JSON_BYTES))
        .transpose()?;
    if let Some(json) = json.flatten() {
        let version = rpc.version.as_ref().filter(|_| rpc.streaming);
        let version = version.and_then(|path| wire_version(Wire(&wire), path));
        return Ok(Decoded { json, version });
    }
    response_by_reflection(route, wire, MAX_JSON_BYTES)
}

/// The bytes that a response carries instead of JSON, where [`Route::raw_response`] says so.
///
/// # Errors
/// A response that is not of the contract.
pub fn response_payload(route: &Route, wire: &Bytes) -> Result<Payload, ResponseError> {
    let field = route.response_body.as_ref().map(FieldDescriptor::number);
    let malformed = || serde_json::Error::custom("a google.api.HttpBody is malformed");
    Ok(payload::of_response(wire, field).ok_or_else(malformed)?)
}

/// The JSON of a message, of about so many bytes at most; `None` when its shape is for the reflective path.
fn rendered(
    plans: &Plans,
    message: &Message,
    wire: &[u8],
    most: usize,
) -> Result<Option<Vec<u8>>, ResponseError> {
    // Names, quotes and commas: JSON is longer than the wire.
    let mut json = Vec::with_capacity(3 * wire.len() + 64);
    match render::message(plans, message, wire, most, &mut json) {
        Ok(()) => Ok(Some(json)),
        Err(NoJson::Fallback) => Ok(None),
        Err(NoJson::TooLong) => Err(ResponseError::TooLong),
        Err(NoJson::OutOfRange) => {
            Err(serde_json::Error::custom("a Timestamp or a Duration is out of range").into())
        }
    }
}

fn response_by_reflection(route: &Route, wire: Bytes, most: usize) -> Result<Decoded, ResponseError> {
    let (message, _) = decode(route.rpc.output.clone(), wire, MOST_BYTES)?;
    let version = route.rpc.version.as_ref().filter(|_| route.rpc.streaming);
    let version = version.and_then(|path| version_of(&message, path));
    let json = match &route.response_body {
        None => reflect::print::message(&message, most)?,
        Some(field) => reflect::print::field(&message, field, most)?,
    };
    Ok(Decoded { json, version })
}

/// The version in bytes that were printed as JSON, so every field is there once at most.
fn wire_version(mut wire: Wire<'_>, path: &[FieldDescriptor]) -> Option<i64> {
    let (field, rest) = path.split_first()?;
    while !wire.is_empty() {
        match wire.tag()? {
            (number, VARINT) if number == field.number() && rest.is_empty() => {
                return Some(wire.varint()?.cast_signed())
                    .filter(|version| *version != 0 || field.supports_presence());
            }
            (number, DELIMITED) if number == field.number() => {
                return wire_version(Wire(wire.delimited()?), rest);
            }
            (_, wire_type) => wire.skip(wire_type)?,
        }
    }
    None
}

fn version_of(message: &DynamicMessage, path: &[FieldDescriptor]) -> Option<i64> {
    let (field, rest) = path.split_first().filter(|(field, _)| message.has_field(field))?;
    let value = message.get_field(field);
    if rest.is_empty() { value.as_i64() } else { version_of(value.as_message()?, rest) }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod judges_tests;
