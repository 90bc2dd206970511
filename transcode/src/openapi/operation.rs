//! One route as an operation: parameters, body, answers, and the same call by grpcurl.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};

use super::{
    comments::Comments,
    path::Path,
    schema::{Schemas, describe, example, example_of, is_required},
};
use crate::{
    bind::{scalar::is_well_known, text::is_textual},
    routes::route::{Body, FieldPath, Route},
};

/// Messages in messages whose fields are listed as query parameters; deeper ones can be given and are not listed.
const QUERY_DEPTH: usize = 3;

/// What an `Idempotency-Key` looks like without quotes: printable ASCII.
const KEY: &str = "^[!#-~]([ -~]*[!-~])?$";

/// What an `X-Request-Timeout` should look like. Less than a tenth of a second is understood too, and seldom enough.
const TIMEOUT: &str = r"^([1-9][0-9]{0,3}(\.[0-9]{1,3})?s?|[1-9][0-9]{2,5}ms)$";

/// Whether callers need a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tokens {
    /// For every operation.
    Needed,
    /// They are passed on, and the services decide.
    Optional,
}

/// A route, and where its service is.
pub(crate) struct Operation<'a> {
    pub(crate) route: &'a Route,
    pub(crate) path: &'a Path,
    /// Unlike that of any other operation.
    pub(crate) id: &'a str,
    pub(crate) authority: &'a str,
    /// The scope that a token for it needs.
    pub(crate) scope: Option<&'a str>,
    pub(crate) tokens: Tokens,
}

impl Operation<'_> {
    /// The operation object (OpenAPI 3.1, section 4.8.10).
    pub(crate) fn document(&self, schemas: &mut Schemas, comments: &mut Comments) -> Value {
        let rpc = &self.route.rpc;
        let comment = comments.of(&rpc.method.parent_file(), rpc.method.path());
        let call = self.grpcurl(comments);
        let mut operation = json!({
            "operationId": self.id,
            "tags": [rpc.service],
            "summary": first_sentence(&comment),
            "description": format!("{comment}\n\nThe same call over gRPC:\n\n```sh\n{call}\n```").trim_start(),
            "parameters": self.parameters(schemas, comments),
            "security": self.security(),
            "responses": {
                "200": self.answer(schemas),
                "default": { "$ref": "#/components/responses/Error" },
            },
        });
        if rpc.streaming && !rpc.client_streaming && !self.route.raw_response {
            operation["responses"]["204"] = json!({
                "description": "Nothing can follow the event of `Last-Event-ID`: an `EventSource` does not connect again.",
            });
        }
        if let Some(body) = self.body(schemas, comments) {
            operation["requestBody"] = body;
        }
        operation
    }

    /// The scopes of a bearer token are roles (OpenAPI 3.1, section 4.8.30).
    fn security(&self) -> Value {
        let bearer = json!({ "bearer": self.scope.as_slice() });
        match self.tokens {
            Tokens::Needed => json!([bearer]),
            Tokens::Optional => json!([{}, bearer]),
        }
    }

    fn grpcurl(&self, comments: &mut Comments) -> String {
        let rpc = &self.route.rpc;
        let mut request = example(&rpc.input, &[], comments, 0);
        for path in &self.route.variables {
            if let [field] = path.as_slice() {
                request[field.json_name()] = example_of(field, comments, 0);
            }
        }
        let data = request.to_string().replace('\'', r"'\''");
        format!(
            "grpcurl -plaintext {}-d '{data}' {} {}",
            if self.tokens == Tokens::Needed { "-H \"authorization: Bearer $TOKEN\" " } else { "" },
            self.authority,
            rpc.path.path().trim_start_matches('/')
        )
    }

    fn parameters(&self, schemas: &mut Schemas, comments: &mut Comments) -> Vec<Value> {
        let rpc = &self.route.rpc;
        let mut parameters = Vec::new();
        for one in &self.path.parameters {
            let field = one.variable.map(|variable| &self.route.variables[variable]);
            let mut parameter = match field {
                Some(path) => parameter(path, "path", schemas, comments),
                None => json!({ "in": "path", "schema": { "type": "string" } }),
            };
            if !one.is_whole {
                parameter["schema"] = json!({ "type": "string", "pattern": "^[^/]+$" });
            }
            if one.is_open {
                parameter["schema"] = json!({ "type": "string" });
            }
            parameter["name"] = one.name.as_str().into();
            parameter["required"] = true.into();
            parameters.push(parameter);
        }
        if self.route.body != Body::Whole {
            let mut query = Vec::new();
            self.query(&rpc.input, &mut FieldPath::new(), &mut query);
            parameters.extend(query.iter().map(|path| parameter(path, "query", schemas, comments)));
        }
        if rpc.request_id.is_some() {
            let what = "Makes a repeated call safe: the same key gets the first answer again.";
            parameters.push(header("Idempotency-Key", what, KEY));
        }
        if rpc.after_version.is_some() {
            let what = "Where the stream goes on: the id of the last event seen.";
            parameters.push(header("Last-Event-ID", what, "^[0-9]{1,18}$"));
        }
        let what = "How long the client waits: seconds, or such as `500ms`.";
        parameters.push(header("X-Request-Timeout", what, TIMEOUT));
        parameters
    }

    /// The fields that neither the path nor the body binds, and that text can express.
    fn query(&self, message: &MessageDescriptor, at: &mut FieldPath, found: &mut Vec<FieldPath>) {
        for field in message.fields() {
            let of_body = at.is_empty() && matches!(&self.route.body, Body::Field(body) if *body == field);
            let of_header = at.is_empty() && self.route.rpc.request_id.as_ref() == Some(&field);
            at.push(field.clone());
            let bound = of_body || of_header || self.route.variables.contains(at);
            match field.kind() {
                _ if bound || field.is_map() => {}
                _ if at.len() > QUERY_DEPTH => {}
                Kind::Message(inner) if !is_well_known(inner.full_name()) && field.is_list() => {}
                Kind::Message(inner) if !is_well_known(inner.full_name()) => {
                    self.query(&inner, at, found);
                }
                kind if is_textual(&kind) => found.push(at.clone()),
                _ => {}
            }
            at.pop();
        }
    }

    fn body(&self, schemas: &mut Schemas, comments: &mut Comments) -> Option<Value> {
        let input = &self.route.rpc.input;
        let (schema, example, required) = match &self.route.body {
            Body::Nothing => return None,
            Body::Field(field) => {
                let required = is_required(&comments.of(&field.parent_file(), field.path()));
                (schemas.field(field), example_of(field, comments, 0), required)
            }
            Body::Whole => {
                let bound: Vec<FieldDescriptor> =
                    self.route.variables.iter().filter(|path| path.len() == 1).flatten().cloned().collect();
                let schema = schemas.object(input, &bound, comments);
                let required = schema.get("required").is_some();
                (schema, example(input, &bound, comments, 0), required)
            }
        };
        if self.route.raw_body {
            return Some(json!({ "content": { "*/*": {} } }));
        }
        let kind = if self.route.rpc.client_streaming { "application/x-ndjson" } else { "application/json" };
        Some(json!({ "content": { kind: { "schema": schema, "example": example } }, "required": required }))
    }

    fn answer(&self, schemas: &mut Schemas) -> Value {
        let rpc = &self.route.rpc;
        let schema = match &self.route.response_body {
            None => schemas.message(&rpc.output),
            Some(field) => schemas.field(field),
        };
        let mut content = Map::new();
        if self.route.raw_response {
            content.insert("*/*".to_owned(), json!({}));
        } else if rpc.streaming {
            // A stream is no JSON document: the schema is that of one message, of which generators that know streams make a type. Many tools
            // take what stands first.
            content.insert("text/event-stream".to_owned(), json!({ "schema": schema }));
            content.insert("application/x-ndjson".to_owned(), json!({ "schema": schema }));
        } else {
            content.insert("application/json".to_owned(), json!({ "schema": schema }));
        }
        let what = if rpc.streaming {
            "A stream of messages: of server-sent events (`data` is one message, `id` its version), or a line each; for the handshake of a \
             WebSocket, a text frame each."
        } else {
            "The answer."
        };
        json!({ "description": what, "content": content })
    }
}

fn header(name: &str, description: &str, pattern: &str) -> Value {
    let schema = json!({ "type": "string", "pattern": pattern });
    json!({ "name": name, "in": "header", "description": description, "schema": schema })
}

fn parameter(path: &FieldPath, place: &str, schemas: &mut Schemas, comments: &mut Comments) -> Value {
    let name = path.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".");
    let (mut schema, mut comment) = (json!({}), String::new());
    // The table holds no empty path.
    if let Some(field) = path.last() {
        schema = schemas.field(field);
        comment = comments.of(&field.parent_file(), field.path());
    }
    let mut parameter = json!({ "name": name, "in": place, "schema": schema });
    if place == "query" && path.len() == 1 && is_required(&comment) {
        parameter["required"] = true.into();
    }
    describe(&mut parameter, comment);
    parameter
}

fn first_sentence(comment: &str) -> String {
    let line = comment.replace('\n', " ");
    line.split_once(". ").map_or(line.as_str(), |(first, _)| first).trim_end_matches('.').to_owned()
}
