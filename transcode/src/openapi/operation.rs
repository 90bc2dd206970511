//! One route as an operation: parameters, body, answers, and the same call by grpcurl.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::{
    about::{About, Listed, Tokens},
    options::is_required,
    path::Path,
    schema::{Schemas, describe},
};
use crate::{
    bind::{scalar::is_well_known, text::is_textual},
    comments::Comments,
    routes::route::{Body, FieldPath},
};

/// Messages in messages whose fields are listed as query parameters; deeper ones can be given and are not listed.
const QUERY_DEPTH: usize = 3;

/// What an `Idempotency-Key` looks like without quotes: printable ASCII.
const KEY: &str = "^[!#-~]([ -~]*[!-~])?$";

/// What an `X-Request-Timeout` should look like. Less than a tenth of a second is understood too, and seldom enough.
const TIMEOUT: &str = r"^((0\.[1-9][0-9]*|[1-9][0-9]*(\.[0-9]+)?)s?|[1-9][0-9]{2,}ms)$";

/// What a condition on a write is: versions, or entity tags, or any.
const TAGS: &str = r#"^(\*|([0-9]+|(W/)?"[!#-~]*")( *, *([0-9]+|(W/)?"[!#-~]*"))*)$"#;

/// A route as a document shows it.
pub(crate) struct Operation<'a> {
    pub(crate) listed: &'a Listed<'a>,
    pub(crate) path: &'a Path,
    /// Unlike that of any other operation.
    pub(crate) id: &'a str,
    pub(crate) about: &'a About<'a>,
}

impl Operation<'_> {
    /// The operation object (OpenAPI 3.1, section 4.8.10).
    pub(crate) fn document(&self, schemas: &mut Schemas, comments: &mut Comments) -> Value {
        let rpc = &self.listed.route.rpc;
        let comment = comments.of(&rpc.method.parent_file(), rpc.method.path());
        let (summary, call) = (first_sentence(&comment), self.grpcurl(schemas));
        let mut description = format!("{comment}\n\nThe same call over gRPC:\n\n```sh\n{call}\n```");
        if rpc.streaming {
            description += &self.curl();
        }
        let mut operation = json!({
            "operationId": self.id,
            "tags": [rpc.service],
            "summary": if summary.is_empty() { rpc.method.name() } else { &summary },
            "description": description.trim_start(),
            "parameters": self.parameters(schemas, comments),
            "security": self.security(),
            "responses": self.answers(schemas),
        });
        if let Some(body) = self.body(schemas, comments) {
            operation["requestBody"] = body;
        }
        operation
    }

    /// The scopes of a bearer token are roles (OpenAPI 3.1, section 4.8.30).
    fn security(&self) -> Value {
        let bearer = json!({ "bearer": self.listed.scope.as_slice() });
        match self.about.tokens {
            Tokens::None => json!([]),
            Tokens::Needed => json!([bearer]),
            Tokens::Optional => json!([{}, bearer]),
        }
    }

    /// The value of a header for a command line.
    fn token(&self) -> &'static str {
        if self.about.tokens == Tokens::Needed { "-H \"authorization: Bearer $TOKEN\" " } else { "" }
    }

    /// Pages that show documents wait for the end of an answer, which a stream has late or never.
    fn curl(&self) -> String {
        let (token, path) = (self.token(), self.path.text.replace('{', "$").replace('}', ""));
        format!(
            "\n\nA page that shows this document shows no stream before its end. On a terminal:\n\n```sh\ncurl -sN {token}\"$SERVER{path}\"\n```"
        )
    }

    fn grpcurl(&self, schemas: &Schemas) -> String {
        let rpc = &self.listed.route.rpc;
        let mut request = schemas.example(&rpc.input, &[], 0);
        for path in &self.listed.route.variables {
            if let [field] = path.as_slice() {
                request[field.json_name()] = schemas.example_of(field, 0);
            }
        }
        let data = request.to_string().replace('\'', r"'\''");
        format!(
            "grpcurl -plaintext {}-d '{data}' {} {}",
            self.token(),
            self.listed.authority,
            rpc.path.path().trim_start_matches('/')
        )
    }

    fn parameters(&self, schemas: &mut Schemas, comments: &mut Comments) -> Vec<Value> {
        let rpc = &self.listed.route.rpc;
        let mut parameters = Vec::new();
        for one in &self.path.parameters {
            let field = one.variable.map(|variable| &self.listed.route.variables[variable]);
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
        if self.listed.route.body != Body::Whole {
            let mut query = Vec::new();
            self.query(&rpc.input, &mut FieldPath::new(), &mut query);
            parameters.extend(query.iter().map(|path| parameter(path, "query", schemas, comments)));
        }
        if rpc.request_id.is_some() {
            let what = "Makes a repeated call safe: the same key gets the first answer again.";
            parameters.push(header("Idempotency-Key", what, Some(KEY)));
        }
        if rpc.after_version.is_some() {
            let what = "Where the stream goes on: the id of the last event seen.";
            parameters.push(header("Last-Event-ID", what, Some("^[0-9]{1,18}$")));
        }
        if self.has_tag() {
            let what = "Of an answer that the client has: 304 when it would be the same.";
            // What names no tag is no condition on a read, and refused nowhere.
            parameters.push(header("If-None-Match", what, None));
        }
        if self.is_conditional() {
            let what =
                "The entity tag of what is to be changed, as it was read: 412 when it is another one by now.";
            parameters.push(header("If-Match", what, Some(TAGS)));
        }
        if self.about.habits.times {
            let what = "How long the client waits: seconds, or such as `500ms`.";
            parameters.push(header("X-Request-Timeout", what, Some(TIMEOUT)));
        }
        parameters
    }

    /// Whether a write is done only for a version that the request names, in a field that stands for the header (AIP-154).
    fn is_conditional(&self) -> bool {
        let route = self.listed.route;
        self.about.habits.tags && route.method != "GET" && route.rpc.etag.is_some()
    }

    /// The fields that neither the path nor the body binds, and that text can express.
    fn query(&self, message: &MessageDescriptor, at: &mut FieldPath, found: &mut Vec<FieldPath>) {
        for field in message.fields() {
            let of_body =
                at.is_empty() && matches!(&self.listed.route.body, Body::Field(body) if *body == field);
            let of_header = at.is_empty() && self.listed.route.rpc.request_id.as_ref() == Some(&field);
            at.push(field.clone());
            let bound = of_body || of_header || self.listed.route.variables.contains(at);
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
        let input = &self.listed.route.rpc.input;
        let (schema, example, required) = match &self.listed.route.body {
            Body::Nothing => return None,
            Body::Field(field) => (schemas.field(field), schemas.example_of(field, 0), is_required(field)),
            Body::Whole => {
                let bound: Vec<FieldDescriptor> = self
                    .listed
                    .route
                    .variables
                    .iter()
                    .filter(|path| path.len() == 1)
                    .flatten()
                    .cloned()
                    .collect();
                let schema = schemas.object(input, &bound, comments);
                let required = schema.get("required").is_some();
                (schema, schemas.example(input, &bound, 0), required)
            }
        };
        if self.listed.route.raw_body {
            return Some(json!({ "content": { "*/*": {} } }));
        }
        let kind =
            if self.listed.route.rpc.client_streaming { "application/x-ndjson" } else { "application/json" };
        Some(json!({ "content": { kind: { "schema": schema, "example": example } }, "required": required }))
    }
}

fn header(name: &str, description: &str, pattern: Option<&str>) -> Value {
    let mut schema = json!({ "type": "string" });
    if let Some(pattern) = pattern {
        schema["pattern"] = pattern.into();
    }
    json!({ "name": name, "in": "header", "description": description, "schema": schema })
}

fn parameter(path: &FieldPath, place: &str, schemas: &mut Schemas, comments: &mut Comments) -> Value {
    let name = path.iter().map(FieldDescriptor::json_name).collect::<Vec<_>>().join(".");
    let mut parameter = json!({ "name": name, "in": place, "schema": {} });
    // The table holds no empty path.
    if let Some(field) = path.last() {
        // A path without it leads elsewhere.
        let required = if place == "path" { is_required(field) } else { schemas.requires(field) };
        parameter["schema"] = schemas.limited(field, required);
        if place == "query" && path.len() == 1 && required {
            parameter["required"] = true.into();
        }
        describe(&mut parameter, comments.of(&field.parent_file(), field.path()));
    }
    parameter
}

fn first_sentence(comment: &str) -> String {
    let line = comment.replace('\n', " ");
    line.split_once(". ").map_or(line.as_str(), |(first, _)| first).trim_end_matches('.').to_owned()
}
