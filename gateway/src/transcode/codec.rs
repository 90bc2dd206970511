//! JSON to wire bytes and wire bytes to JSON, by the table of routes: the only door between HTTP and gRPC.
//!
//! Callers see bytes on both sides and no message, so that how the bytes are made can change behind these functions.

use bytes::Bytes;
use chassis::status::Fault;
use prost::{DecodeError, Message as _};
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage as _};
use serde_json::Value as Json;

use super::{
    bind::{self, Input},
    table::Route,
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

/// Why a response cannot be told in JSON: the service and the edge do not agree on the contract.
#[derive(Debug, thiserror::Error)]
pub enum ResponseError {
    /// The bytes are not a message of the contract.
    #[error("the response cannot be decoded")]
    Decode(#[from] DecodeError),
    /// The message has no JSON form: a timestamp out of range, an Any of an unknown type.
    #[error("the response cannot be told in JSON")]
    Encode(#[from] serde_json::Error),
}

/// Makes the request's wire bytes from its HTTP parts.
///
/// # Errors
/// MALFORMED_REQUEST or INVALID_FIELD with every violation.
pub fn request_from_json(route: &Route, input: &Input<'_>, lenient: bool) -> Result<Encoded, Fault> {
    let (message, ignored) = bind::bind(route, input, lenient)?;
    Ok(Encoded { wire: message.encode_to_vec().into(), ignored })
}

/// Makes the HTTP body of a response, or of one message of a stream.
///
/// # Errors
/// A response that is not of the contract.
pub fn response_to_json(route: &Route, wire: Bytes) -> Result<Decoded, ResponseError> {
    let message = DynamicMessage::decode(route.rpc.output.clone(), wire)?;
    let version = route.rpc.version.as_ref().and_then(|path| version(&message, path));
    let json = match &route.response_body {
        None => serde_json::to_vec(&message)?,
        Some(field) => serde_json::to_vec(&field_to_json(message, field)?)?,
    };
    Ok(Decoded { json, version })
}

fn version(message: &DynamicMessage, path: &[FieldDescriptor]) -> Option<i64> {
    let (field, rest) = path.split_first().filter(|(field, _)| message.has_field(field))?;
    let value = message.get_field(field);
    if rest.is_empty() { value.as_i64() } else { version(value.as_message()?, rest) }
}

/// One field of a message; what is absent is its default, or null if it is a message.
fn field_to_json(mut message: DynamicMessage, field: &FieldDescriptor) -> Result<Json, serde_json::Error> {
    let mut only = DynamicMessage::new(message.descriptor().clone());
    let value = message.take_field(field);
    let absent = value.is_none();
    if let Some(value) = value {
        only.set_field(field, value);
    }
    // Defaults are printed only where nothing is nested in them.
    let options = prost_reflect::SerializeOptions::new().skip_default_fields(!absent);
    let mut json = only.serialize_with_options(serde_json::value::Serializer, &options)?;
    Ok(json.get_mut(field.json_name()).map(Json::take).unwrap_or_default())
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
