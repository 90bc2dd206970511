//! Payloads by the descriptors of the service: as ProtoJSON, and changed by it.

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, ReflectMessage as _};
use serde_json::Value;

/// What the payloads of a service say, by the names of their kinds.
#[derive(Debug, Clone, Default)]
pub struct Payloads {
    pool: DescriptorPool,
}

/// Why a payload is not changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not understood as it is.
    Payload(String),
    /// The patch makes no message of it.
    Patch(String),
}

impl Payloads {
    /// By encoded `FileDescriptorSet`s; a file that is in several is the first one's.
    ///
    /// # Errors
    /// When one cannot be read.
    pub fn of(descriptor_sets: &[&[u8]]) -> anyhow::Result<Self> {
        let mut pool = DescriptorPool::new();
        for set in descriptor_sets {
            pool.decode_file_descriptor_set(*set)?;
        }
        Ok(Self { pool })
    }

    /// A payload as ProtoJSON, or why it is none.
    pub(super) fn decode(&self, kind: &str, payload: &[u8]) -> Result<Value, String> {
        json(&self.message(kind, payload)?)
    }

    /// The payload with the members of a patch (RFC 7396) in place of its own.
    pub(super) fn patch(&self, kind: &str, payload: &[u8], patch: &Value) -> Result<Vec<u8>, Refusal> {
        let message = self.message(kind, payload).map_err(Refusal::Payload)?;
        let descriptor = message.descriptor();
        let mut value = json(&message).map_err(Refusal::Payload)?;
        // What JSON does not say would be lost without a word.
        if read(descriptor.clone(), &value) != Ok(message) {
            let problem = format!("the payload has fields of {kind} that this version does not know");
            return Err(Refusal::Payload(problem));
        }
        merge(&mut value, patch);
        let changed = read(descriptor, &value).map_err(Refusal::Patch)?;
        Ok(changed.encode_to_vec())
    }

    fn message(&self, kind: &str, payload: &[u8]) -> Result<DynamicMessage, String> {
        let descriptor = self.pool.get_message_by_name(kind);
        let descriptor = descriptor.ok_or_else(|| format!("this version does not know the kind {kind:?}"))?;
        DynamicMessage::decode(descriptor, payload).map_err(|error| error.to_string())
    }
}

fn json(message: &DynamicMessage) -> Result<Value, String> {
    serde_json::to_value(message).map_err(|error| error.to_string())
}

fn read(descriptor: MessageDescriptor, value: &Value) -> Result<DynamicMessage, String> {
    DynamicMessage::deserialize(descriptor, value).map_err(|error| error.to_string())
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Value::Object(members) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            members.shift_remove(name);
        } else {
            merge(members.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use ordermesh::{orders::v1::OrderPlaced, payments::v1::VoidPayment};
    use prost::Name as _;
    use serde_json::json;

    use super::*;

    fn payloads() -> Payloads {
        Payloads::of(&[ordermesh::DESCRIPTOR_SET]).expect("our build has made it")
    }

    fn placed() -> OrderPlaced {
        OrderPlaced { order_id: "o".into(), user_id: "alice".into(), amount: 30, currency_code: "RUB".into() }
    }

    #[test]
    fn a_patch_changes_its_members_only() {
        let (payloads, kind) = (payloads(), OrderPlaced::full_name());
        let payload = placed().encode_to_vec();
        let expected = json!({ "orderId": "o", "userId": "alice", "amount": "30", "currencyCode": "RUB" });
        assert_eq!(payloads.decode(&kind, &payload), Ok(expected));
        for amount in [json!("31"), json!(31)] {
            let patched = payloads.patch(&kind, &payload, &json!({ "amount": amount, "currencyCode": null }));
            let expected = OrderPlaced { amount: 31, currency_code: String::new(), ..placed() };
            assert_eq!(patched, Ok(expected.encode_to_vec()));
        }
    }

    #[test]
    fn what_is_no_message_of_its_kind_is_refused() {
        let (payloads, kind) = (payloads(), OrderPlaced::full_name());
        let payload = placed().encode_to_vec();
        for patch in [json!({ "amount": "many" }), json!({ "colour": "red" }), json!([1])] {
            let refused = payloads.patch(&kind, &payload, &patch);
            assert!(matches!(refused, Err(Refusal::Patch(_))), "{patch}: {refused:?}");
        }
        let patch = json!({ "amount": 1 });
        for payload in [&b"\xff"[..], &[payload.as_slice(), b"\x9a\x06\x01x"].concat()] {
            let refused = payloads.patch(&kind, payload, &patch);
            assert!(matches!(refused, Err(Refusal::Payload(_))), "{payload:?}: {refused:?}");
        }
        assert!(matches!(payloads.patch("", b"", &patch), Err(Refusal::Payload(_))));
        assert!(payloads.decode(&VoidPayment::full_name(), b"\x08").is_err());
    }
}
