//! The answers of an operation: what is right, what the client has already, and each status that is known for a failure.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    about::{Failure, may_pass},
    operation::Operation,
    schema::Schemas,
};

impl Operation<'_> {
    pub(crate) fn answers(&self, schemas: &mut Schemas) -> Map<String, Value> {
        let rpc = &self.listed.route.rpc;
        let mut answers = Map::new();
        answers.insert("200".to_owned(), self.right(schemas));
        if rpc.streaming && !rpc.client_streaming && !self.listed.route.raw_response {
            let what =
                "Nothing can follow the event of `Last-Event-ID`: an `EventSource` does not connect again.";
            answers.insert("204".to_owned(), json!({ "description": what }));
        }
        if self.has_tag() {
            let what = "The client has this answer: `If-None-Match` names its tag.";
            answers.insert("304".to_owned(), json!({ "description": what, "headers": { "ETag": tag() } }));
        }
        let mut failures: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for Failure { status, reason } in self.listed.failures {
            failures.entry(*status).or_default().push(format!("`{reason}`"));
        }
        answers.extend(failures.into_iter().map(|(status, reasons)| {
            let name = if may_pass(status) { "Busy" } else { "Error" };
            let reference = format!("#/components/responses/{name}");
            (status.to_string(), json!({ "$ref": reference, "description": reasons.join(", ") }))
        }));
        answers.insert("default".to_owned(), json!({ "$ref": "#/components/responses/Error" }));
        answers
    }

    /// Whether its answer is a whole one to a read, and so has a tag.
    pub(crate) fn has_tag(&self) -> bool {
        let route = self.listed.route;
        let is_stream = route.rpc.streaming || route.rpc.client_streaming;
        self.about.habits.tags && route.method == "GET" && !is_stream
    }

    fn right(&self, schemas: &mut Schemas) -> Value {
        let route = self.listed.route;
        let schema = match &route.response_body {
            None => schemas.message(&route.rpc.output),
            Some(field) => schemas.field(field),
        };
        let mut content = Map::new();
        if route.raw_response {
            content.insert("*/*".to_owned(), json!({}));
        } else if route.rpc.streaming {
            // A stream is no JSON document: the schema is that of one message, of which generators that know streams make a type. Many tools
            // take what stands first.
            content.insert("text/event-stream".to_owned(), json!({ "schema": schema }));
            content.insert("application/x-ndjson".to_owned(), json!({ "schema": schema }));
        } else {
            content.insert("application/json".to_owned(), json!({ "schema": schema }));
        }
        let what = if route.rpc.streaming {
            "A stream of messages: of server-sent events (`data` is one message, `id` its version), or a line each; for the handshake of a \
             WebSocket, a text frame each."
        } else {
            "The answer."
        };
        let mut answer = json!({ "description": what, "content": content });
        if self.has_tag() {
            answer["headers"]["ETag"] = tag();
        }
        if self.about.habits.replays && route.rpc.request_id.is_some() {
            let what = "Where this is the first answer again, to a call with the same `Idempotency-Key`.";
            answer["headers"]["Idempotency-Replayed"] =
                json!({ "description": what, "schema": { "type": "string", "enum": ["true"] } });
        }
        answer
    }
}

fn tag() -> Value {
    let what = "The entity tag of the answer, which begins with the version of a resource that has one.";
    json!({ "description": what, "schema": { "type": "string" } })
}
