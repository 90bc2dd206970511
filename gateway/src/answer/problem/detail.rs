//! The details of a status as ProtoJSON (AIP-193): those whose types google.rpc or the services describe by the names of their fields, any
//! other as its type and its bytes.

use std::{sync::LazyLock, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chassis::status::clip;
use prost::Message as _;
use prost_reflect::DescriptorPool;
use serde_json::{Map, Value};
use tonic::Status;
use tonic_types::pb;
use transcode::is_well_known;

/// What a text in a detail keeps, in bytes: services quote what clients sent.
const TEXT_BYTES: usize = 512;

/// The types of google.rpc.
static TYPES: LazyLock<DescriptorPool> = LazyLock::new(|| {
    // The library's own: they are complete.
    DescriptorPool::decode(pb::FILE_DESCRIPTOR_SET).unwrap_or_default()
});

/// Every detail of a status, in its order; `types` are those of the service.
pub(super) fn all(status: &Status, types: &DescriptorPool) -> Vec<Value> {
    let details = pb::Status::decode(status.details()).map(|status| status.details).unwrap_or_default();
    details.into_iter().map(|detail| one(&detail.type_url, &detail.value, types)).collect()
}

fn one(url: &str, bytes: &[u8], types: &DescriptorPool) -> Value {
    let name = url.rsplit_once('/').map_or("", |(_, name)| name);
    let mut fields = match decoded(name, bytes, types) {
        // What has a JSON form of its own is a value, also where that is an object.
        Some(Value::Object(fields)) if !is_well_known(name) => fields,
        Some(value) => Map::from_iter([("value".to_owned(), value)]),
        None => Map::from_iter([("value".to_owned(), BASE64_STANDARD.encode(bytes).into())]),
    };
    fields.insert("@type".to_owned(), url.into());
    Value::Object(fields)
}

/// The JSON of a message whose type is known.
fn decoded(name: &str, bytes: &[u8], types: &DescriptorPool) -> Option<Value> {
    let known = TYPES.get_message_by_name(name).or_else(|| types.get_message_by_name(name))?;
    let mut json = serde_json::from_slice(&transcode::message_to_json(&known, bytes).ok()?).ok()?;
    shorten(&mut json);
    Some(json)
}

fn shorten(json: &mut Value) {
    match json {
        Value::String(text) => clip(text, TEXT_BYTES),
        Value::Array(values) => values.iter_mut().for_each(shorten),
        Value::Object(fields) => fields.values_mut().for_each(shorten),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A time as a `google.protobuf.Duration` in ProtoJSON, with as many digits as are needed of 0, 3, 6 and 9.
pub(super) fn duration(time: Duration) -> String {
    match (time.as_secs(), time.subsec_nanos()) {
        (seconds, 0) => format!("{seconds}s"),
        (seconds, nanos) if nanos % 1_000_000 == 0 => format!("{seconds}.{:03}s", nanos / 1_000_000),
        (seconds, nanos) if nanos % 1_000 == 0 => format!("{seconds}.{:06}s", nanos / 1_000),
        (seconds, nanos) => format!("{seconds}.{nanos:09}s"),
    }
}
