//! OpenAPI of what the operator's listener answers.

use auth::Rule;
use serde_json::{Value, json};
use transcode::{
    Route,
    openapi::{self, Ids, Listed, Tokens},
};

use super::mount::Mounted;

/// The header that an edge understands, and this listener does not.
const TIMEOUT: &str = "X-Request-Timeout";

/// One document about all services.
pub(super) fn of(mounts: &[Mounted]) -> Value {
    let routes: Vec<(&Route, &str, Option<Rule>)> = mounts
        .iter()
        .flat_map(|mounted| mounted.list().iter().map(|route| (&**route, mounted.authority.as_str())))
        .map(|(route, authority)| (route, authority, Rule::of(&route.rpc.method).ok().flatten()))
        .collect();
    let listed: Vec<Listed<'_>> = routes
        .iter()
        .map(|(route, authority, rule)| Listed {
            route,
            authority,
            scope: rule.as_ref().map(|rule| rule.scope.as_str()),
        })
        .collect();
    let mut document = openapi::document("admin services", &listed, &Ids::of(&listed), Tokens::Needed);
    narrow(&mut document);
    document
}

/// Takes out what only an edge has: a request says no time here, and errors are always problem details.
fn narrow(document: &mut Value) {
    let operations = document["paths"].as_object_mut().into_iter().flatten();
    let operations = operations.filter_map(|(_, path)| path.as_object_mut()).flatten();
    for (_, operation) in operations {
        if let Some(parameters) = operation["parameters"].as_array_mut() {
            parameters.retain(|parameter| parameter["name"] != TIMEOUT);
        }
    }
    let problem =
        json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    document["components"]["responses"]["Error"]["content"] = problem;
    if let Some(schemas) = document["components"]["schemas"].as_object_mut() {
        schemas.shift_remove("Error");
        schemas.shift_remove("ErrorDetail");
        // Problem details of this listener have no `details`, which would refer to what was taken out.
        let problem = schemas.get_mut("Problem").and_then(|problem| problem["properties"].as_object_mut());
        if let Some(members) = problem {
            members.shift_remove("details");
        }
    }
    document["components"]["securitySchemes"]["bearer"]["description"] =
        "The ADMIN_TOKEN, or a token of the issuer for the scope that the operation names.".into();
}
