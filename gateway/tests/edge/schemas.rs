//! What generators make types of: limits, requirements and failures in the documents, as the options of a contract say them.

use gateway::Config;
use serde_json::{Value, json as value};

use crate::{
    foreign::{compiled, encoded},
    upstream::{Upstream, echo},
    world::{World, json, shapes},
};

const CONTRACT: &str = r#"
syntax = "proto3";
package limits.v1;
import "buf/validate/validate.proto";
import "google/api/annotations.proto";
import "google/api/field_behavior.proto";
message M {
  string given = 1 [(google.api.field_behavior) = REQUIRED];
  string made = 2 [(google.api.field_behavior) = OUTPUT_ONLY];
  string text = 3 [(buf.validate.field).string = {min_len: 2 max_len: 5 pattern: "^[a-z]*$"}];
  string code = 4 [(buf.validate.field) = {string: {pattern: "^[A-Z]{3}$"} ignore: IGNORE_IF_ZERO_VALUE}];
  int32 few = 5 [(buf.validate.field).int32 = {gt: 0 lt: 10}];
  int64 many = 6 [(buf.validate.field).int64 = {gte: 1 lte: 1000}];
  int64 any = 7;
  // Required. Output only. These words alone say nothing.
  string said = 8;
  string etag = 9;
  string request_id = 10;
}
service S {
  rpc Get(M) returns (M) { option (google.api.http) = {get: "/limits/{given}"}; }
  rpc Put(M) returns (M) { option (google.api.http) = {put: "/limits/{given}" body: "*"}; }
  rpc Watch(M) returns (stream M) { option (google.api.http) = {get: "/limits/{given}:watch"}; }
}
"#;

async fn document() -> Value {
    let files = compiled(&[("limits.proto", CONTRACT.to_owned())]);
    let upstream = Upstream::start(async |call| echo(&call)).await;
    let config = Config { descriptor_set: encoded(files.into_values()), ..shapes(&upstream.url()) };
    let world = World::with(Config { foreign: Some(Vec::new()), ..config }).await;
    json(world.get("/openapi.json").await, http::StatusCode::OK).await
}

#[tokio::test]
async fn options_of_fields_are_limits_of_schemas() {
    let document = document().await;
    let schema = &document["components"]["schemas"]["M"];
    assert_eq!((&schema["required"], &schema["additionalProperties"]), (&value!(["given"]), &value!(true)));
    let fields = &schema["properties"];
    for (name, expected) in [
        ("given", value!({"type": "string", "minLength": 1})),
        ("made", value!({"type": "string", "readOnly": true})),
        ("text", value!({"type": "string", "minLength": 2, "maxLength": 5, "pattern": "^[a-z]*$"})),
        ("code", value!({"type": "string", "pattern": "^$|^[A-Z]{3}$"})),
        ("few", value!({"type": "integer", "format": "int32", "minimum": 1, "maximum": 9})),
        ("many", value!({"type": "string", "format": "int64", "pattern": "^(1000|[1-9][0-9]{0,2})$"})),
        ("any", value!({"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"})),
    ] {
        assert_eq!(fields[name], expected, "{name}");
    }
    assert!(fields["said"]["readOnly"].is_null(), "{fields:#}");
    // So they are of parameters.
    let parameters = document["paths"]["/limits/{given}"]["get"]["parameters"].as_array().expect("a list");
    let few = parameters.iter().find(|one| one["name"] == "few").expect("a parameter");
    assert_eq!(few["schema"]["maximum"], 9, "{few:#}");
}

#[tokio::test]
async fn answers_are_what_a_client_can_get() {
    let document = document().await;
    let paths = &document["paths"];
    let (get, put) = (&paths["/limits/{given}"]["get"], &paths["/limits/{given}"]["put"]);
    let statuses = |operation: &Value| {
        let answers = operation["responses"].as_object().expect("answers");
        answers.keys().cloned().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(statuses(get), "200 304 400 422 429 503 default");
    assert_eq!(statuses(put), "200 400 412 413 415 422 429 503 default");
    let headers = |operation: &Value, status: &str| {
        let headers = operation["responses"][status]["headers"].as_object();
        headers.into_iter().flatten().map(|(name, _)| name.clone()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        (headers(get, "200"), headers(get, "304")),
        ("ETag Idempotency-Replayed".into(), "ETag".into())
    );
    assert_eq!(headers(put, "200"), "Idempotency-Replayed");
    assert_eq!(put["responses"]["503"]["$ref"], "#/components/responses/Busy");
    assert!(document["components"]["responses"]["Busy"]["headers"]["Retry-After"].is_object());
    let parameters = |operation: &Value| {
        let all = operation["parameters"].as_array().expect("a list");
        let all = all.iter().filter(|one| one["in"] == "header").filter_map(|one| one["name"].as_str());
        all.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(parameters(get), "Idempotency-Key If-None-Match X-Request-Timeout");
    assert_eq!(parameters(put), "Idempotency-Key If-Match X-Request-Timeout");
    let watch = paths["/limits/{given}:watch"]["get"]["description"].as_str().expect("a description");
    assert!(watch.contains("curl -sN \"$SERVER/limits/$given:watch\""), "{watch}");
}
