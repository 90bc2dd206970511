//! The documents of the edge, judged by a validator that shares no code with it, and the pages that show them.

use std::{path::Path, process::Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::{io::AsyncWriteExt as _, process::Command};

use world::{Issuer, claims};

use crate::mesh::{EMBEDDED, Mesh};

const VALIDATE: &str = "import json, sys\n\
    from openapi_spec_validator import OpenAPIV31SpecValidator\n\
    errors = [str(e) for e in OpenAPIV31SpecValidator(json.load(sys.stdin)).iter_errors()]\n\
    sys.exit('\\n'.join(errors) or 0)";

/// By a validator and by a linter: neither has anything to say.
pub(crate) async fn validate(document: &str) -> Result<()> {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools").canonicalize()?;
    let python = tools.join("python/bin/python");
    ensure!(python.is_file(), "{} is missing: run scripts/setup", python.display());
    judged(Command::new(python).args(["-c", VALIDATE]), document).await?;
    let lint = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/openapi.cjs");
    judged(Command::new("node").arg(lint).arg(tools.join("console")), document).await.map(drop)
}

/// What a judge prints that reads this.
async fn judged(judge: &mut Command, document: &str) -> Result<String> {
    judge.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut judge = judge.spawn()?;
    let mut input = judge.stdin.take().context("piped")?;
    input.write_all(document.as_bytes()).await?;
    drop(input);
    let outcome = judge.wait_with_output().await?;
    ensure!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
    Ok(String::from_utf8(outcome.stdout)?)
}

#[tokio::test]
async fn the_documents_are_valid_and_shown() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    for path in ["/openapi.json", "/openapi/orders.json", "/openapi/payments.json"] {
        let document = mesh.api.get(path).await?;
        ensure!(document.body["openapi"] == "3.1.0", "{path}: {}", document.text);
        validate(&document.text).await.context(path)?;
    }
    let merged = mesh.api.get("/openapi.json").await?.body;
    let create = &merged["paths"]["/gateway/orders"]["post"];
    let body = &create["requestBody"]["content"]["application/json"];
    ensure!(body["schema"]["$ref"] == "#/components/schemas/Order", "{create:#}");
    ensure!(
        create["description"].as_str().is_some_and(|text| text.contains("grpcurl -plaintext")),
        "{create:#}"
    );
    let order = &merged["components"]["schemas"]["Order"];
    ensure!(order["required"] == json!(["userId", "amount"]), "{order:#}");
    let amount = &order["properties"]["amount"];
    ensure!(amount["type"] == "string" && amount["format"] == "int64", "{amount:#}");
    // Nobody is asked for a token.
    ensure!(create["security"] == json!([]), "{create:#}");
    ensure!(
        merged["components"]["securitySchemes"].is_null() && merged["info"]["license"]["identifier"] == "MIT"
    );
    ensure!(merged["servers"][0]["url"] == mesh.api.base(), "{:#}", merged["servers"]);
    for_generators(&merged)?;
    // What the document gives as an example works.
    let account = json!({ "userId": body["example"]["userId"] });
    mesh.api.post("/gateway/payments", &account).await?;
    let placed = mesh.api.post("/gateway/orders", &body["example"]).await?;
    ensure!(placed.status == 200, "{}", placed.text);

    let page = mesh.api.get("/swagger/index.html").await?;
    ensure!(page.status == 200 && page.text.contains("swagger-ui"), "{}", page.text);
    let pages = mesh.api.get("/swagger/swagger-initializer.js").await?;
    for name in ["/openapi/orders.json", "/openapi/payments.json"] {
        ensure!(pages.text.contains(name), "{}", pages.text);
    }
    let script = mesh.api.get("/swagger/swagger-ui-bundle.js").await?;
    ensure!(script.status == 200 && script.text.len() > 100_000, "{}", script.status);
    Ok(())
}

#[tokio::test]
async fn with_an_issuer_each_operation_names_its_scope() -> Result<()> {
    let issuer = Issuer::start().await?;
    let mesh = Mesh::start_with(EMBEDDED, &issuer.env()).await?;
    let document = mesh.api.get("/openapi.json").await?;
    validate(&document.text).await?;
    ensure!(
        document.body["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer",
        "{}",
        document.text
    );
    for (path, method, scope) in [
        ("/gateway/orders", "post", "orders:write"),
        ("/gateway/orders", "get", "orders:read"),
        ("/gateway/orders/{order_id}:cancel", "post", "orders:write"),
        ("/gateway/orders/{order_id}/payment", "get", "payments:read"),
        ("/gateway/payments/{user_id}/top-up", "post", "payments:write"),
    ] {
        let operation = &document.body["paths"][path][method];
        ensure!(operation["security"] == json!([{ "bearer": [scope] }]), "{path}: {operation:#}");
    }
    // Whose order it is, the token says: what the document has as an example is taken of whoever sends it.
    let order = &document.body["components"]["schemas"]["Order"];
    ensure!(order["required"] == json!(["amount"]), "{order:#}");
    ensure!(order["properties"]["userId"]["pattern"] == "^$|^[A-Za-z0-9._-]{1,64}$", "{order:#}");
    let create = &document.body["paths"]["/gateway/orders"]["post"];
    let example = &create["requestBody"]["content"]["application/json"]["example"];
    let token = issuer.token("first", &claims("alice", "orders:write", 600)).await?;
    let placed = mesh.api.with_token(&token).post("/gateway/orders", example).await?;
    ensure!(placed.status == 200 && placed.body["userId"] == "alice", "{example}: {}", placed.text);
    Ok(())
}

/// What generated clients are made of.
fn for_generators(merged: &serde_json::Value) -> Result<()> {
    let create = &merged["paths"]["/gateway/orders"]["post"];
    ensure!(create["requestBody"]["required"] == true, "{create:#}");
    let cancel = &merged["paths"]["/gateway/orders/{order_id}:cancel"]["post"]["requestBody"];
    ensure!(cancel["required"] == false, "{cancel:#}");
    // A client that knows a balance as an input would send one, and one that knows only `@type` of an error would refuse its reason.
    let schemas = &merged["components"]["schemas"];
    ensure!(schemas["Account"]["properties"]["balance"]["readOnly"] == true, "{:#}", schemas["Account"]);
    ensure!(
        schemas["Error"]["properties"]["error"]["properties"]["details"]["items"]["$ref"]
            == "#/components/schemas/ErrorDetail"
    );
    ensure!(
        schemas["ErrorDetail"]["properties"]["reason"]["type"] == "string",
        "{:#}",
        schemas["ErrorDetail"]
    );
    let cancel = &merged["paths"]["/gateway/orders/{order_id}:cancel"]["post"]["responses"];
    let reasons = "`MALFORMED_REQUEST`, `INVALID_FIELD`, `ORDER_NOT_CANCELLABLE`";
    ensure!(cancel["400"]["description"] == reasons && !cancel["412"].is_null(), "{cancel:#}");
    for name in ["Order", "Account", "Error", "ErrorDetail", "Problem"] {
        ensure!(schemas[name]["additionalProperties"] == true, "{name}: {:#}", schemas[name]);
    }
    // Many tools take the first kind of answer: the one that every client of streams reads, with the type of its messages.
    let responses = &merged["paths"]["/gateway/orders/{order_id}:watch"]["get"]["responses"];
    ensure!(responses["204"]["description"].is_string(), "{responses:#}");
    let watch = &responses["200"]["content"];
    let kinds: Vec<&String> = watch.as_object().into_iter().flatten().map(|(kind, _)| kind).collect();
    ensure!(kinds == ["text/event-stream", "application/x-ndjson"], "{kinds:?}");
    ensure!(watch["text/event-stream"]["schema"]["$ref"] == "#/components/schemas/OrderEvent", "{watch:#}");
    Ok(())
}

/// Whether values are of a schema, one word a line, by a validator of JSON Schema.
const ALLOWED: &str = "import json, sys\n\
    from jsonschema import Draft202012Validator\n\
    document, values = json.load(sys.stdin)\n\
    order = {'$ref': '#/components/schemas/Order', 'components': document['components']}\n\
    for value in values: print(Draft202012Validator(order).is_valid(value))";

/// The limits of the schemas are those that the services check.
#[tokio::test]
async fn what_a_schema_allows_is_taken_and_nothing_else() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let document = mesh.api.get("/openapi.json").await?.body;
    let with = |name: &str, value: &str| {
        let mut order = json!({ "userId": "limits", "amount": "1" });
        order[name] = value.into();
        order
    };
    let long = |length: usize| "é".repeat(length);
    let mut orders = vec![json!({ "userId": "limits" }), json!({ "amount": "1" })];
    orders.extend(["0", "1", "1000000000000", "1000000000001", "-1"].map(|amount| with("amount", amount)));
    orders.extend(
        ["", "A.b_c-9", "a b", "a/b", &"a".repeat(64), &"a".repeat(65)].map(|user| with("userId", user)),
    );
    orders.extend(["", "RUB", "rub", "RUBL"].map(|code| with("currencyCode", code)));
    orders.extend(
        ["", "a\tb\n", "a\u{0}", "\u{85}", &long(1_024), &long(1_025)].map(|text| with("description", text)),
    );
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools/python/bin/python");
    let allowed =
        judged(Command::new(python).args(["-c", ALLOWED]), &json!([document, orders]).to_string()).await?;
    ensure!(allowed.lines().count() == orders.len(), "{allowed}");
    for (order, allowed) in orders.iter().zip(allowed.lines()) {
        let answer = mesh.api.post("/gateway/orders", order).await?;
        let status = if allowed == "True" { 200 } else { 400 };
        ensure!(answer.status == status, "{order} is allowed: {allowed}, and answered {}", answer.text);
    }
    ensure!(allowed.contains("True") && allowed.contains("False"));
    Ok(())
}
