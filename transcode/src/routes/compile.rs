//! The table of routes, compiled from descriptors: every method with google.api.http, its bindings and their fields.

use std::sync::Arc;

use http::{Method as HttpMethod, uri::PathAndQuery};
use prost_reflect::{
    DescriptorPool, DynamicMessage, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, Value,
};

use super::{
    route::{Body, FieldPath, Route, Rpc},
    selection::Selection,
    template::Template,
};
use crate::{
    bind::{mask, text},
    direct::plan::Plans,
    payload::{holds_payload, is_payload},
};

/// A binding that cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rpc}: {problem}")]
pub struct RouteError {
    rpc: String,
    problem: String,
}

/// Compiles the bindings that can be served of every selected method in the pool, and says why the others cannot.
#[must_use]
pub(crate) fn compile(pool: &DescriptorPool, selection: Selection<'_>) -> (Vec<Route>, Vec<RouteError>) {
    let (mut routes, mut errors) = (Vec::new(), Vec::new());
    let Some(http) = pool.get_extension_by_name("google.api.http") else { return (routes, errors) };
    let methods = || {
        let methods = pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        methods.filter(|method| method.options().has_extension(&http) && (selection.serves)(method))
    };
    let mut plans = Plans::default();
    for method in methods() {
        plans.add(&method.input());
        plans.add(&method.output());
    }
    let plans = Arc::new(plans);
    for method in methods() {
        for binding in bindings(&method, &http, &plans, selection).unwrap_or_else(|p| vec![Err(p)]) {
            match binding {
                Ok(route) => routes.push(route),
                Err(problem) => errors.push(RouteError { rpc: method.full_name().to_owned(), problem }),
            }
        }
    }
    (routes, errors)
}

type Bindings = Vec<Result<Route, String>>;

fn bindings(
    method: &MethodDescriptor,
    http: &ExtensionDescriptor,
    plans: &Arc<Plans>,
    selection: Selection<'_>,
) -> Result<Bindings, String> {
    let options = method.options();
    let rule = options.get_extension(http);
    let rule = rule.as_message().ok_or("google.api.http is not a message")?;
    let rpc = Arc::new(rpc(method, plans)?);
    let mut rules = vec![rule.clone()];
    rules.extend(list(rule, "additional_bindings"));
    Ok(rules.iter().enumerate().map(|(binding, rule)| route(&rpc, binding, rule, selection)).collect())
}

fn rpc(method: &MethodDescriptor, plans: &Arc<Plans>) -> Result<Rpc, String> {
    let service = method.parent_service().full_name();
    let input = method.input();
    let named = |name: &str, kind: &Kind| {
        input.get_field_by_name(name).filter(|field| !field.is_list() && field.kind() == *kind)
    };
    let path = format!("/{service}/{}", method.name());
    Ok(Rpc {
        name: method.full_name().to_owned(),
        method: method.clone(),
        service: service.to_owned(),
        path: PathAndQuery::try_from(path).map_err(|error| error.to_string())?,
        request_id: named("request_id", &Kind::String),
        etag: named("etag", &Kind::String),
        order_by: named("order_by", &Kind::String),
        after_version: named("after_version", &Kind::Int64),
        version: version(&method.output()),
        output: method.output(),
        streaming: method.is_server_streaming(),
        client_streaming: method.is_client_streaming(),
        plans: Arc::clone(plans),
        input_place: plans.place(&input).ok_or("its request is not in the tables")?,
        output_place: plans.place(&method.output()).ok_or("its response is not in the tables")?,
        input,
    })
}

fn version(message: &MessageDescriptor) -> Option<FieldPath> {
    let own = |message: &MessageDescriptor| {
        message.get_field_by_name("version").filter(|field| !field.is_list() && field.kind() == Kind::Int64)
    };
    let nested = |field: FieldDescriptor| {
        let version =
            (!field.is_list() && !field.is_map()).then(|| own(field.kind().as_message()?)).flatten()?;
        Some(vec![field, version])
    };
    own(message).map(|field| vec![field]).or_else(|| message.fields().find_map(nested))
}

fn route(
    rpc: &Arc<Rpc>,
    binding: usize,
    rule: &DynamicMessage,
    selection: Selection<'_>,
) -> Result<Route, String> {
    let (method, path) = pattern(rule)?;
    let template = Template::parse(&selection.path(path)?).map_err(|error| error.to_string())?;
    let variables = template.variables.iter().map(|variable| bound_field(&rpc.input, &variable.field));
    let body = match text(rule, "body").as_str() {
        // Each message of a stream is a message as a whole.
        "" if !rpc.client_streaming => Body::Nothing,
        "" | "*" => Body::Whole,
        name => Body::Field(field_of(&rpc.input, name)?),
    };
    let response_body = match text(rule, "response_body").as_str() {
        "" => None,
        name => Some(field_of(&rpc.output, name)?),
    };
    let variables = variables.collect::<Result<Vec<FieldPath>, String>>()?;
    if let Body::Field(field) = &body
        && variables.iter().any(|path| path.len() == 1 && path.first() == Some(field))
    {
        return Err(format!("field {} is bound by the path and by the body", field.name()));
    }
    let raw_body = match &body {
        Body::Nothing => false,
        Body::Whole => is_payload(&rpc.input),
        Body::Field(field) => holds_payload(field),
    };
    let raw_response = response_body.as_ref().map_or_else(|| is_payload(&rpc.output), holds_payload);
    Ok(Route {
        rpc: Arc::clone(rpc),
        binding,
        mount: selection.name().to_owned(),
        update_mask: mask::field(&method, &body, &rpc.input),
        method,
        template,
        variables,
        body,
        raw_body,
        response_body,
        raw_response,
    })
}

/// The HTTP method and the template of a rule.
fn pattern(rule: &DynamicMessage) -> Result<(String, String), String> {
    for name in ["get", "put", "post", "delete", "patch"] {
        if rule.has_field_by_name(name) {
            return Ok((name.to_ascii_uppercase(), text(rule, name)));
        }
    }
    let custom = rule.get_field_by_name("custom").filter(|_| rule.has_field_by_name("custom"));
    let custom = custom.as_deref().and_then(Value::as_message).ok_or("the rule has no method and path")?;
    let kind = text(custom, "kind");
    if kind != "*" {
        HttpMethod::from_bytes(kind.as_bytes()).map_err(|_| format!("{kind:?} is not an HTTP method"))?;
    }
    Ok((kind, text(custom, "path")))
}

/// The fields of a path variable, which must lead to one value that text can express.
fn bound_field(input: &MessageDescriptor, names: &[String]) -> Result<FieldPath, String> {
    let mut message = input.clone();
    let mut path = FieldPath::new();
    for (depth, name) in names.iter().enumerate() {
        let field = field_of(&message, name)?;
        if field.is_list() || field.is_map() {
            return Err(format!("field {name} is repeated: a path cannot bind it"));
        }
        if depth + 1 < names.len() {
            let kind = field.kind();
            message =
                kind.as_message().cloned().ok_or_else(|| format!("field {name} has no fields of its own"))?;
        } else if !text::is_textual(&field.kind()) {
            return Err(format!("field {name} is a message: a path cannot bind it"));
        }
        path.push(field);
    }
    Ok(path)
}

fn field_of(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, String> {
    message.get_field_by_name(name).ok_or_else(|| format!("{} has no field {name}", message.full_name()))
}

fn text(message: &DynamicMessage, field: &str) -> String {
    message.get_field_by_name(field).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn list(message: &DynamicMessage, field: &str) -> Vec<DynamicMessage> {
    let value = message.get_field_by_name(field);
    let items = value.as_deref().and_then(Value::as_list).unwrap_or_default();
    items.iter().filter_map(Value::as_message).cloned().collect()
}
