//! What the options of a contract say of fields and methods, read by their published names: `google.api.field_behavior` (AIP-203),
//! `buf.validate.field` (<https://protovalidate.com>), and lists of texts of a method.

use prost_reflect::{DynamicMessage, FieldDescriptor, MethodDescriptor, ReflectMessage as _, Value};

const BEHAVIOR: &str = "google.api.field_behavior";
const RULES: &str = "buf.validate.field";

/// `google.api.FieldBehavior`.
const REQUIRED: i32 = 2;
const OUTPUT_ONLY: i32 = 3;

/// `buf.validate.Ignore`: rules do not count for the empty value, or never.
const IF_ZERO_VALUE: i32 = 1;
const ALWAYS: i32 = 3;

/// The values that a field can have, as far as its contract says it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Of an integer.
    pub(crate) least: Option<i128>,
    pub(crate) most: Option<i128>,
    /// Of a text, in characters.
    pub(crate) shortest: Option<u64>,
    pub(crate) longest: Option<u64>,
    /// A regular expression that is found in a text.
    pub(crate) pattern: Option<String>,
    /// Whether the empty value is none of this.
    pub(crate) or_empty: bool,
}

/// Whether a request has to have a field.
pub(crate) fn is_required(field: &FieldDescriptor) -> bool {
    behaves(field, REQUIRED)
}

/// Whether only answers have a field.
pub(crate) fn is_output_only(field: &FieldDescriptor) -> bool {
    behaves(field, OUTPUT_ONLY)
}

fn behaves(field: &FieldDescriptor, how: i32) -> bool {
    let behaviors = of_field(field, BEHAVIOR);
    let behaviors = behaviors.iter().filter_map(Value::as_list).flatten();
    behaviors.filter_map(Value::as_enum_number).any(|one| one == how)
}

/// The limits of a field. Rules for types that are not among those that follow say nothing here.
pub(crate) fn limits(field: &FieldDescriptor) -> Option<Limits> {
    let rules = of_field(field, RULES)?;
    let rules = rules.as_message()?;
    let ignore = given(rules, "ignore").and_then(|ignore| ignore.as_enum_number());
    if ignore == Some(ALWAYS) {
        return None;
    }
    let or_empty = ignore == Some(IF_ZERO_VALUE);
    if let Some(text) = given(rules, "string") {
        let text = text.as_message()?;
        let length = |name| given(text, name).and_then(|length| length.as_u64());
        let pattern = given(text, "pattern").and_then(|pattern| pattern.as_str().map(str::to_owned));
        let (shortest, longest) = (length("min_len"), length("max_len"));
        return Some(Limits { shortest, longest, pattern, or_empty, ..Limits::default() });
    }
    let integers = ["int32", "int64", "uint32", "uint64", "sint32", "sint64"];
    let rules = integers.into_iter().find_map(|kind| given(rules, kind))?;
    let rules = rules.as_message()?;
    let bound = |name| given(rules, name).and_then(|bound| integer(&bound));
    let least = bound("gte").or_else(|| Some(bound("gt")? + 1));
    let most = bound("lte").or_else(|| Some(bound("lt")? - 1));
    Some(Limits { least, most, or_empty, ..Limits::default() })
}

/// The texts in a method's option of this full name.
#[must_use]
pub fn texts(method: &MethodDescriptor, name: &str) -> Vec<String> {
    let Some(option) = method.parent_pool().get_extension_by_name(name) else { return Vec::new() };
    let options = method.options();
    let value = options.get_extension(&option);
    let texts = value.as_list().into_iter().flatten();
    texts.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn of_field(field: &FieldDescriptor, name: &str) -> Option<Value> {
    let option = field.parent_pool().get_extension_by_name(name)?;
    let options = field.options();
    options.has_extension(&option).then(|| options.get_extension(&option).into_owned())
}

fn given(message: &DynamicMessage, name: &str) -> Option<Value> {
    let field = message.descriptor().get_field_by_name(name)?;
    message.has_field(&field).then(|| message.get_field(&field).into_owned())
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::I32(value) => Some(i128::from(*value)),
        Value::I64(value) => Some(i128::from(*value)),
        Value::U32(value) => Some(i128::from(*value)),
        Value::U64(value) => Some(i128::from(*value)),
        _ => None,
    }
}
