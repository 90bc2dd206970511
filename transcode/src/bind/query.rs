//! Query parameters become fields: nested paths, both spellings of a name, and repetition for repeated fields.

use prost_reflect::{DynamicMessage, FieldDescriptor, MessageDescriptor, Value};

use super::{mask, message::sibling, names, report::Report, scalar, text};
use crate::routes::{
    percent,
    route::{Body, FieldPath, Route},
};

/// Parameters of one request. They are compared with each other, so their number counts twice.
pub(crate) const MAX_PARAMETERS: usize = 1_000;

/// Fields that a parameter's name leads through; a message that holds itself has no other end. JSON nests no deeper.
const MAX_STEPS: usize = super::json::MAX_DEPTH;

/// Binds every parameter of `query` (what follows the `?`) into `message`.
pub(crate) fn bind(route: &Route, query: &str, message: &mut DynamicMessage, report: &mut Report) {
    let mut given: Vec<FieldPath> = Vec::new();
    if query.split('&').nth(MAX_PARAMETERS).is_some() {
        return report.unreadable("query", format!("has more than {MAX_PARAMETERS} parameters"));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        let name = match percent::decode_query(name) {
            Ok(name) => name,
            Err(problem) => {
                report.unreadable(name, format!("the name {problem}"));
                continue;
            }
        };
        let Some(path) = resolve(&route.rpc.input, &name).filter(|_| route.body != Body::Whole) else {
            if !is_of_every_route(&name, text) {
                report.unknown(&name, "is not a query parameter of this route");
            }
            continue;
        };
        match percent::decode_query(text) {
            Ok(text) => {
                if let Err(problem) = parameter(route, &path, &text, message, &given) {
                    report.unreadable(&dotted(&path), problem);
                }
            }
            Err(problem) => report.unreadable(&dotted(&path), problem.to_string()),
        }
        given.push(path);
    }
}

/// Whether a parameter is one that Google's generated clients send to every method
/// (<https://cloud.google.com/apis/docs/system-parameters>): the key of a quota, and how the answer is to be written. It is JSON here, as
/// short as can be, with the names of enums, which all of those clients read.
fn is_of_every_route(name: &str, text: &str) -> bool {
    match name.strip_prefix('$').unwrap_or(name) {
        "alt" => ["json", "json;enum-encoding=int", "json%3Benum-encoding%3Dint"]
            .iter()
            .any(|alt| text.eq_ignore_ascii_case(alt)),
        "prettyPrint" | "key" | "quotaUser" | ".xgafv" => true,
        _ => false,
    }
}

fn parameter(
    route: &Route,
    path: &FieldPath,
    text: &str,
    message: &mut DynamicMessage,
    given: &[FieldPath],
) -> Result<(), String> {
    if route.variables.contains(path) {
        return Err("is given by the path".to_owned());
    }
    if matches!(&route.body, Body::Field(field) if path.first() == Some(field)) {
        return Err("is given by the body".to_owned());
    }
    // `resolve` returns no empty path.
    let Some((field, parents)) = path.split_last() else { return Ok(()) };
    if field.is_map() || !text::is_textual(&field.kind()) {
        return Err("is a message: name the field in it".to_owned());
    }
    if !field.is_list() && given.contains(path) {
        return Err("is given more than once".to_owned());
    }
    let in_contract =
        (route.rpc.order_by.as_ref() == Some(field)).then(|| names::contract_order(&route.rpc.output, text));
    let text = in_contract.as_deref().unwrap_or(text);
    let value = match (&route.body, &route.update_mask) {
        (Body::Field(body), Some(mask)) if mask == field => mask::named(body, mask, text)?,
        _ => text::from_text(&field.kind(), text)?,
    };
    let parent = descend(message, parents)?;
    if let Some(sibling) = sibling(parent, field) {
        return Err(format!("cannot be given together with {sibling}"));
    }
    match parent.get_field_mut(field) {
        Value::List(list) if field.is_list() => list.push(value),
        slot => *slot = value,
    }
    Ok(())
}

/// The message that holds the last field of a path, made on the way.
///
/// # Errors
/// A oneof on the way that has another value.
pub(crate) fn descend<'m>(
    message: &'m mut DynamicMessage,
    parents: &[FieldDescriptor],
) -> Result<&'m mut DynamicMessage, String> {
    let Some((field, rest)) = parents.split_first() else { return Ok(message) };
    if let Some(sibling) = sibling(message, field) {
        return Err(format!("cannot be given together with {sibling}"));
    }
    match message.get_field_mut(field) {
        Value::Message(inner) => descend(inner, rest),
        _ => Err(format!("{} has no fields of its own", field.json_name())),
    }
}

/// The fields that a dotted name leads to, by the names of the contract or of JSON.
fn resolve(message: &MessageDescriptor, name: &str) -> Option<FieldPath> {
    let mut message = Some(message.clone());
    let mut path = FieldPath::new();
    for step in name.split('.') {
        if path.len() == MAX_STEPS {
            return None;
        }
        let inside = message?;
        let field = names::field(&inside, step)?;
        let is_one = !field.is_list() && !field.is_map();
        let has_fields = |inner: &&MessageDescriptor| is_one && !scalar::is_well_known(inner.full_name());
        message = field.kind().as_message().filter(has_fields).cloned();
        path.push(field);
    }
    Some(path)
}

/// A path as JSON spells it.
#[must_use]
pub(crate) fn dotted(path: &[FieldDescriptor]) -> String {
    path.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".")
}
