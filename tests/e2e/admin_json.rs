//! The admin services as JSON: at the operator's listener of their process, saying what gRPC says, and never at the public edge.

use anyhow::{Context as _, Result, ensure};
use ordermesh::{
    audit::v1::{ListAuditEventsRequest, audit_service_client::AuditServiceClient},
    messaging::v1::{
        GetMessagingStatusRequest, ListParkedMessagesRequest,
        messaging_admin_service_client::MessagingAdminServiceClient,
    },
    payments::v1::{
        GetReconciliationReportRequest, ListAccountsRequest,
        payments_admin_service_client::PaymentsAdminServiceClient,
    },
};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tonic::{Request, transport::Endpoint};
use world::{Answer, Api, PATIENCE, Program, eventually};

use crate::{
    mesh::{ADMIN_TOKEN, EMBEDDED, Mesh},
    openapi::validate,
};

pub(crate) fn with_token<T>(message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {ADMIN_TOKEN}").parse()?);
    Ok(request)
}

/// The ProtoJSON of a message, by the descriptors and by nothing of ours.
pub(crate) fn json_of<M: Message + Name>(message: &M) -> Result<Value> {
    let pool = DescriptorPool::decode(ordermesh::DESCRIPTOR_SET)?;
    let descriptor = pool.get_message_by_name(&M::full_name()).context("a message of the contract")?;
    let message = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?;
    Ok(serde_json::to_value(message)?)
}

/// What is at the operator's listener of a service's process, for who has the token.
pub(crate) async fn admin(mesh: &Mesh, service: &str, path: &str) -> Result<Value> {
    let api = mesh.admin(service)?.with_token(ADMIN_TOKEN);
    let answer = api.get(&format!("/admin/v1/{service}{path}")).await?;
    ensure!(answer.status == 200, "{service}{path}: {} {}", answer.status, answer.text);
    Ok(answer.body)
}

/// Without what changes from one moment to the next.
fn steady(mut value: Value) -> Value {
    match &mut value {
        Value::Object(fields) => {
            for changing in ["leaseLeft", "leaseUnrenewed", "perSecond", "seenTime"] {
                fields.remove(changing);
            }
            fields.values_mut().for_each(|field| *field = steady(field.take()));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = steady(item.take())),
        _ => {}
    }
    value
}

#[tokio::test]
async fn the_operators_listener_says_what_grpc_says() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    for (user, amount) in [("alice", 100), ("bob", 7)] {
        mesh.account(user, amount).await?;
    }
    let id = mesh.order("alice", 30).await?;
    mesh.ended(&id).await?;
    mesh.at_rest().await?;
    for (service, address) in [("orders", mesh.orders), ("payments", mesh.payments)] {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
        let mut messages = MessagingAdminServiceClient::new(channel.clone());
        let status = messages.get_messaging_status(with_token(GetMessagingStatusRequest {})?).await?;
        let json = steady(admin(&mesh, service, "/status").await?);
        ensure!(json == steady(json_of(status.get_ref())?), "{service}: {json}");
        let parked = messages.list_parked_messages(with_token(ListParkedMessagesRequest::default())?).await?;
        ensure!(
            admin(&mesh, service, "/parked?pageSize=7").await? == json_of(parked.get_ref())?,
            "{service}"
        );
        let mut audit = AuditServiceClient::new(channel.clone());
        let events = audit.list_audit_events(with_token(ListAuditEventsRequest::default())?).await?;
        ensure!(admin(&mesh, service, "/audit").await? == json_of(events.get_ref())?, "{service}");
        if service == "payments" {
            let mut payments = PaymentsAdminServiceClient::new(channel);
            let accounts = payments.list_accounts(with_token(ListAccountsRequest::default())?).await?;
            let json = admin(&mesh, service, "/accounts").await?;
            ensure!(json == json_of(accounts.get_ref())? && json["accounts"][0]["balance"] == "70", "{json}");
            let report = payments.get_reconciliation_report(with_token(GetReconciliationReportRequest {})?);
            ensure!(admin(&mesh, service, "/reconciliation").await? == json_of(report.await?.get_ref())?);
        }
    }
    let api = mesh.admin("orders")?;
    what_is_refused(api).await?;
    what_is_noted(api).await?;
    the_document(api).await?;
    the_edge_has_none_of_it(&mesh).await
}

fn is_problem(answer: &Answer, status: u16, reason: &str) -> Result<()> {
    let kind = answer.header("content-type");
    ensure!(answer.status == status && kind == Some("application/problem+json"), "{kind:?} {}", answer.text);
    ensure!(answer.body["reason"] == reason && answer.body["status"] == status, "{}", answer.text);
    Ok(())
}

async fn what_is_refused(api: &Api) -> Result<()> {
    let operator = api.with_token(ADMIN_TOKEN);
    let nobody = api.get("/admin/v1/orders/status").await?;
    is_problem(&nobody, 401, "UNAUTHENTICATED")?;
    ensure!(nobody.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")));
    ensure!(nobody.body["instance"] == "/admin/v1/orders/status", "{}", nobody.text);
    is_problem(&api.with_token("guess").get("/admin/v1/orders/status").await?, 401, "UNAUTHENTICATED")?;
    for path in ["/admin/v1/orders/nothing", "/admin/v1/carts/status", "/admin/v1/status", "/nothing"] {
        is_problem(&operator.get(path).await?, 404, "ROUTE_NOT_FOUND")?;
    }
    // Accounts are what payments has.
    is_problem(&operator.get("/admin/v1/orders/accounts").await?, 404, "ROUTE_NOT_FOUND")?;
    let other = operator.post("/admin/v1/orders/status", &json!({})).await?;
    is_problem(&other, 405, "METHOD_NOT_ALLOWED")?;
    ensure!(other.header("allow") == Some("GET"), "{:?}", other.headers);
    is_problem(&operator.get("/admin/v1/orders/parked?what=1").await?, 400, "MALFORMED_REQUEST")?;
    let without_name = operator.post("/admin/v1/orders/parked:redrive", &json!({})).await?;
    is_problem(&without_name, 400, "INVALID_FIELD")?;
    ensure!(without_name.body["errors"][0]["field"] == "operator", "{}", without_name.text);
    let large = json!({ "operator": "x".repeat(2 << 20) });
    is_problem(&operator.post("/admin/v1/orders/parked:redrive", &large).await?, 413, "BODY_TOO_LARGE")
}

/// Who did it is found in the list of who did what, by the trace of the request and by its id.
async fn what_is_noted(api: &Api) -> Result<()> {
    let operator = api.with_token(ADMIN_TOKEN);
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let redrive = operator.request(reqwest::Method::POST, "/admin/v1/payments/parked:redrive");
    let redrive = redrive.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let redrive = redrive.header("x-request-id", "ticket-7");
    let done = world::answer(redrive.json(&json!({ "operator": "olga" }))).await?;
    ensure!(done.status == 200 && done.body == json!({}), "{}", done.text);
    // What cannot be stored is no reason to refuse it.
    let other = operator.request(reqwest::Method::POST, "/admin/v1/payments/parked:redrive");
    let other = other.header("x-request-id", "r".repeat(256)).json(&json!({ "operator": "olga" }));
    let other = world::answer(other).await?;
    ensure!(other.status == 200, "{}", other.text);
    let noted = operator.get("/admin/v1/payments/audit?filter=action%20%3D%20REDRIVE").await?;
    ensure!(noted.body["events"][0].get("xRequestId").is_none(), "{}", noted.text);
    let event = &noted.body["events"][1];
    ensure!(event["operator"] == "olga" && event["traceId"] == trace, "{}", noted.text);
    ensure!(event["xRequestId"] == "ticket-7", "{}", noted.text);
    Ok(())
}

async fn the_document(api: &Api) -> Result<()> {
    let document = api.get("/admin/v1/openapi.json").await?;
    validate(&document.text).await?;
    let paths = document.body["paths"].as_object().context("paths")?;
    for path in ["/admin/v1/orders/parked", "/admin/v1/payments/parked", "/admin/v1/payments/accounts"] {
        ensure!(paths.contains_key(path), "{path} is not among {:?}", paths.keys());
    }
    ensure!(paths.keys().all(|path| path.starts_with("/admin/v1/")), "{:?}", paths.keys());
    let ids = paths.values().filter_map(Value::as_object).flatten();
    let ids: Vec<&str> = ids.filter_map(|(_, operation)| operation["operationId"].as_str()).collect();
    let distinct: std::collections::BTreeSet<&&str> = ids.iter().collect();
    ensure!(distinct.len() == ids.len(), "{ids:?}");
    ensure!(paths["/admin/v1/orders/parked"]["get"]["security"] == json!([{ "bearer": ["admin:read"] }]));
    Ok(())
}

/// Neither by the descriptors that it was built with, nor by those that a service describes itself with.
async fn the_edge_has_none_of_it(mesh: &Mesh) -> Result<()> {
    let mut reflected = Program::named("gateway")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--upstream".to_owned(), format!("http://{}", mesh.payments)])
        .start()?;
    let by_reflection = Api::new(format!("http://{}", reflected.address("http").await?))?;
    eventually("the routes of payments", PATIENCE, async || {
        let account = by_reflection.get("/gateway/payments/alice").await?;
        ensure!(account.status == 200, "{}", account.text);
        Ok(())
    })
    .await?;
    for edge in [&mesh.api, &by_reflection] {
        let edge = edge.with_token(ADMIN_TOKEN);
        for path in ["/admin/v1/parked", "/admin/v1/payments/parked", "/admin/v1/accounts"] {
            let answer = edge.get(path).await?;
            ensure!(answer.status == 404, "{path} at {}: {}", edge.base(), answer.text);
        }
        let document = edge.get("/openapi.json").await?;
        let paths = document.body["paths"].as_object().context("paths")?;
        ensure!(!paths.is_empty() && paths.keys().all(|path| !path.contains("admin")), "{:?}", paths.keys());
        ensure!(!document.text.contains("admin:"), "an operator's scope is in the public document");
        let channel = Endpoint::from_shared(edge.base().to_owned())?.connect().await?;
        let mut messages = MessagingAdminServiceClient::new(channel);
        let refused = messages.get_messaging_status(with_token(GetMessagingStatusRequest {})?).await;
        let refused = refused.err().context("the edge knows no such method")?;
        ensure!(refused.code() == tonic::Code::Unimplemented, "{refused}");
    }
    let own = Api::new(format!("http://{}", reflected.address("admin").await?))?;
    is_problem(&own.get("/admin/v1/payments/status").await?, 404, "ROUTE_NOT_FOUND")
}

#[tokio::test]
async fn where_nobody_can_be_an_operator_that_is_said() -> Result<()> {
    // Without a token, unlike the others.
    let mesh = Mesh::start_with(EMBEDDED, &[("AUTH_INSECURE", "false".to_owned())]).await?;
    let answer = mesh.admin("orders")?.get("/admin/v1/orders/status").await?;
    is_problem(&answer, 404, "ROUTE_NOT_FOUND")?;
    ensure!(
        answer.body["detail"].as_str().is_some_and(|said| said.contains("ADMIN_TOKEN")),
        "{}",
        answer.text
    );
    let document = mesh.admin("orders")?.get("/admin/v1/openapi.json").await?;
    ensure!(document.status == 200 && document.body["paths"] == json!({}), "{}", document.text);
    Ok(())
}
