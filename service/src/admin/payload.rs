//! Payloads by the descriptors of the service: as ProtoJSON, and changed by it.

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, ReflectMessage as _};
use serde_json::{Map, Value};

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
        if read(descriptor.clone(), &value).as_ref() != Ok(&message) {
            let problem = format!("the payload has fields of {kind} that this version does not know");
            return Err(Refusal::Payload(problem));
        }
        let patch = named(&descriptor, patch).map_err(Refusal::Patch)?;
        merge(&mut value, &patch);
        let changed = read(descriptor.clone(), &value);
        let changed = changed.map_err(|problem| Refusal::Patch(at_fault(&descriptor, &patch, problem)))?;
        if changed == message {
            return Err(Refusal::Patch("changes nothing".to_owned()));
        }
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

/// What is wrong with a patch, with the name of the first member that cannot be read by itself: the words of the reader name none.
fn at_fault(descriptor: &MessageDescriptor, patch: &Value, problem: String) -> String {
    let members = patch.as_object().into_iter().flatten();
    let alone = |(name, value): (&String, &Value)| {
        let member = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        read(descriptor.clone(), &member).err().map(|problem| format!("{name}: {problem}"))
    };
    members.filter(|(_, value)| !value.is_null()).find_map(alone).unwrap_or(problem)
}

/// A patch of a message with each field by its name in JSON, as the payload has it: ProtoJSON takes the name in the contract too. Within lists
/// nothing is merged, and what is of no message of ours has no names.
fn named(descriptor: &MessageDescriptor, patch: &Value) -> Result<Value, String> {
    let Value::Object(members) = patch else { return Ok(patch.clone()) };
    if descriptor.full_name().starts_with("google.protobuf.") {
        return Ok(patch.clone());
    }
    let mut renamed = Map::new();
    for (name, value) in members {
        let field = descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
        let field = field.ok_or_else(|| format!("{} has no field {name:?}", descriptor.full_name()))?;
        let value = match (field.kind(), value) {
            (Kind::Message(entry), Value::Object(entries)) if field.is_map() => of_map(&entry, entries)?,
            (Kind::Message(message), value) if !field.is_list() => named(&message, value)?,
            _ => value.clone(),
        };
        if renamed.insert(field.json_name().to_owned(), value).is_some() {
            return Err(format!("{name:?} is there by both of its names"));
        }
    }
    Ok(Value::Object(renamed))
}

/// The same for the values of a map.
fn of_map(entry: &MessageDescriptor, entries: &Map<String, Value>) -> Result<Value, String> {
    let Kind::Message(message) = entry.map_entry_value_field().kind() else {
        return Ok(Value::Object(entries.clone()));
    };
    let of_entry = |(key, value): (&String, &Value)| Ok((key.clone(), named(&message, value)?));
    entries.iter().map(of_entry).collect::<Result<Map<_, _>, String>>().map(Value::Object)
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
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
    use ordermesh::{
        orders::v1::OrderPlaced,
        payments::v1::{Payment, PaymentDecided, VoidPayment},
    };
    use prost::Name as _;
    use serde_json::json;

    use super::*;

    fn payloads() -> Payloads {
        Payloads::of(&[ordermesh::DESCRIPTOR_SET]).expect("our build has made it")
    }

    fn placed() -> OrderPlaced {
        let (order_id, user_id, currency_code) = ("o".into(), "alice".into(), "RUB".into());
        OrderPlaced { order_id, user_id, amount: 30, currency_code, ..OrderPlaced::default() }
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
    fn fields_go_by_either_of_their_names() {
        let payloads = payloads();
        let placed_with = |user_id: &str| OrderPlaced { user_id: user_id.into(), ..placed() }.encode_to_vec();
        for patch in [json!({ "userId": "bob" }), json!({ "user_id": "bob" })] {
            let patched = payloads.patch(&OrderPlaced::full_name(), &placed_with("alice"), &patch);
            assert_eq!(patched, Ok(placed_with("bob")), "{patch}");
        }
        let decided = |user_id: &str| PaymentDecided {
            payment: Some(Payment { order_id: "o".into(), user_id: user_id.into(), ..Payment::default() }),
        };
        for patch in [json!({ "payment": { "userId": "bob" } }), json!({ "payment": { "user_id": "bob" } })] {
            let payload = decided("alice").encode_to_vec();
            let patched = payloads.patch(&PaymentDecided::full_name(), &payload, &patch);
            assert_eq!(patched, Ok(decided("bob").encode_to_vec()), "{patch}");
        }
    }

    #[test]
    fn what_changes_nothing_is_refused() {
        let (payloads, kind) = (payloads(), OrderPlaced::full_name());
        let payload = placed().encode_to_vec();
        for patch in [
            json!({}),
            json!({ "amount": "30" }),
            json!({ "user_id": "alice" }),
            json!({ "colour": null }),
            json!({ "userId": "bob", "user_id": "carol" }),
        ] {
            let refused = payloads.patch(&kind, &payload, &patch);
            assert!(matches!(refused, Err(Refusal::Patch(_))), "{patch}: {refused:?}");
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
        let refused = payloads.patch(&kind, &payload, &json!({ "userId": "bob", "amount": "many" }));
        let Err(Refusal::Patch(problem)) = refused else { panic!("{refused:?}") };
        assert!(problem.starts_with("amount: "), "{problem}");
        let patch = json!({ "amount": 1 });
        for payload in [&b"\xff"[..], &[payload.as_slice(), b"\x9a\x06\x01x"].concat()] {
            let refused = payloads.patch(&kind, payload, &patch);
            assert!(matches!(refused, Err(Refusal::Payload(_))), "{payload:?}: {refused:?}");
        }
        assert!(matches!(payloads.patch("", b"", &patch), Err(Refusal::Payload(_))));
        assert!(payloads.decode(&VoidPayment::full_name(), b"\x08").is_err());
    }
}
