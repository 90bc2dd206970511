//! Names of fields in texts that are no JSON: the contract's and JSON's, each where the other side has the other one.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::scalar;

/// The field of a name, in JSON's spelling or the contract's.
pub(crate) fn field(message: &MessageDescriptor, name: &str) -> Option<FieldDescriptor> {
    message.get_field_by_json_name(name).or_else(|| message.get_field_by_name(name))
}

/// The message of a field that has fields of its own to be named.
pub(crate) fn plain_message(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    if field.is_list() || field.is_map() {
        return None;
    }
    field.kind().as_message().filter(|kind| !scalar::is_well_known(kind.full_name())).cloned()
}

/// A path of fields that there are, as the contract spells it.
pub(crate) fn contract_path(message: &MessageDescriptor, path: &str) -> Option<String> {
    let (mut message, mut steps) = (Some(message.clone()), Vec::new());
    for step in path.split('.') {
        let field = field(&message?, step)?;
        steps.push(field.name().to_owned());
        message = plain_message(&field);
    }
    Some(steps.join("."))
}

/// What sorts a list (AIP-132), such as `createTime desc, userId`, as the contract spells the fields of what `list` has; what is none is as
/// it was.
pub(crate) fn contract_order(list: &MessageDescriptor, text: &str) -> String {
    let listed = list.fields().find_map(|field| match field.kind() {
        Kind::Message(listed) if field.is_list() => Some(listed),
        _ => None,
    });
    let Some(listed) = listed else { return text.to_owned() };
    let spelled = |part: &str| {
        let begin = part.len() - part.trim_start().len();
        let end = part[begin..].find(char::is_whitespace).map_or(part.len(), |length| begin + length);
        let path = contract_path(&listed, &part[begin..end]);
        path.map_or_else(|| part.to_owned(), |path| format!("{}{path}{}", &part[..begin], &part[end..]))
    };
    text.split(',').map(spelled).collect::<Vec<_>>().join(",")
}

/// A path as JSON spells it, with keys and places in brackets; what is no field is as it was.
pub(crate) fn json_path(message: &MessageDescriptor, path: &str) -> String {
    let (mut message, mut spelled) = (Some(message.clone()), String::with_capacity(path.len()));
    let mut rest = path;
    while let Some(inside) = &message {
        let length = rest.find(['.', '[']).unwrap_or(rest.len());
        let Some(step) = field(inside, &rest[..length]) else { break };
        spelled.push_str(step.json_name());
        rest = &rest[length..];
        // A key or a place, and what is in it.
        if rest.starts_with('[') {
            let end = rest.find(']').map_or(rest.len(), |end| end + 1);
            spelled.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        message = match step.kind() {
            Kind::Message(entry) if step.is_map() => {
                entry.map_entry_value_field().kind().as_message().cloned()
            }
            kind => kind.as_message().cloned(),
        };
        let Some(next) = rest.strip_prefix('.') else { break };
        spelled.push('.');
        rest = next;
    }
    spelled.push_str(rest);
    spelled
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn what_a_service_names_is_named_as_json_has_it() {
        let shape = fixture::route("GET", "/v1/shapes").0.rpc.input.clone();
        for (path, spelled) in [
            ("snake_case_name", "snakeCaseName"),
            ("snakeCaseName", "snakeCaseName"),
            ("by_id[\"7\"].deeper.number", "byId[\"7\"].deeper.number"),
            ("items[2].text", "items[2].text"),
            ("wrapped_number.value", "wrappedNumber.value"),
            ("nothing_here.user_id", "nothing_here.user_id"),
            ("nested.user_id.x", "nested.user_id.x"),
            ("by_id[", "byId["),
            ("", ""),
            ("request_id.", "requestId."),
        ] {
            assert_eq!(json_path(&shape, path), spelled);
        }
    }

    #[test]
    fn what_sorts_a_list_is_named_as_the_contract_has_it() {
        let list =
            fixture::message("ordermesh/orders/v1/orders.proto", "ordermesh.orders.v1.ListOrdersResponse");
        for (text, spelled) in [
            ("createTime desc, userId", "create_time desc, user_id"),
            (" create_time  asc ,nope", " create_time  asc ,nope"),
            ("", ""),
            (",", ","),
        ] {
            assert_eq!(contract_order(&list, text), spelled);
        }
    }
}
