//! Who did it: each movement of money and each operator's action, with the subject, the token, the trace and the id of the request behind it.

use anyhow::{Context as _, Result, ensure};
use ordermesh::{
    audit::v1::{AuditEvent, ListAuditEventsRequest, audit_service_client::AuditServiceClient},
    messaging::v1::{
        RedriveParkedMessagesRequest, messaging_admin_service_client::MessagingAdminServiceClient,
    },
};
use serde_json::{Value, json};
use tonic::{Code, Request, transport::Channel};
use tonic_types::StatusExt as _;
use world::{Api, Issuer, claims};

use crate::mesh::{Arrangement, EMBEDDED, Mesh};

const ALL: &str = "orders:read orders:write payments:read payments:write";
/// The trace of a request, and of another one.
const FIRST: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SECOND: &str = "0af7651916cd43dd8448eb211c80319c";

#[tokio::test]
async fn who_did_it_embedded() -> Result<()> {
    who_did_it(EMBEDDED).await
}

#[tokio::test]
async fn who_did_it_on_postgres_and_rabbitmq() -> Result<()> {
    who_did_it(Arrangement { postgres: true, rabbitmq: true, ..EMBEDDED }).await
}

async fn token(issuer: &Issuer, user: &str, id: Option<&str>, scope: &str) -> Result<String> {
    let mut claims = claims(user, scope, 3_600);
    if let Some(id) = id {
        claims["jti"] = json!(id);
    }
    issuer.token("first", &claims).await
}

fn with<T>(message: T, token: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    request.metadata_mut().insert("traceparent", format!("00-{SECOND}-b7ad6b7169203331-01").parse()?);
    request.metadata_mut().insert("x-request-id", "request-9".parse()?);
    Ok(request)
}

/// Posts as part of a trace, by a request with an id made of it.
async fn post(api: &Api, path: &str, body: &Value, trace: &str) -> Result<Value> {
    let request = api.request(reqwest::Method::POST, path).json(body);
    let request = request.header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"));
    let response = request.header("x-request-id", request_in(trace)).send().await?;
    let (status, body) = (response.status(), response.json::<Value>().await?);
    ensure!(status == 200, "{path}: {body}");
    Ok(body)
}

fn request_in(trace: &str) -> String {
    format!("request in {trace}")
}

/// All events that a filter means, in pages of this size.
async fn list(
    client: &AuditServiceClient<Channel>,
    token: &str,
    filter: &str,
    page_size: i32,
) -> Result<Vec<AuditEvent>> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListAuditEventsRequest { page_size, page_token, filter: filter.to_owned() };
        let page = client.clone().list_audit_events(with(request, token)?).await?.into_inner();
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            return Ok(events);
        }
        page_token = page.next_page_token;
    }
}

async fn who_did_it(arrangement: Arrangement) -> Result<()> {
    let issuer = Issuer::start().await?;
    let mesh = Mesh::start_with(arrangement, &issuer.env()).await?;
    let alice = mesh.api.with_token(&token(&issuer, "alice", Some("t-1"), ALL).await?);
    let bob = mesh.api.with_token(&token(&issuer, "bob", None, ALL).await?);
    for api in [&alice, &bob] {
        post(api, "/gateway/payments", &json!({}), SECOND).await?;
    }
    let topped_up = json!({ "amount": 1_000, "requestId": "monday" });
    let topped_up = post(&alice, "/gateway/payments/alice/top-up", &topped_up, FIRST).await?;
    let later = mesh.api.with_token(&token(&issuer, "alice", Some("t-2"), ALL).await?);
    let order = post(&later, "/gateway/orders", &json!({ "amount": 300 }), SECOND).await?;
    let id = order["id"].as_str().context("an id")?.to_owned();
    let paid = world::eventually("the end of the order", world::PATIENCE, async || {
        let order = later.get(&format!("/gateway/orders/{id}")).await?;
        ensure!(order.body["status"] == "FINISHED", "{}", order.text);
        Ok(order.body)
    })
    .await?;
    let theirs =
        post(&bob, "/gateway/payments/bob/top-up", &json!({ "amount": 5 }), FIRST).await?["entry"].clone();

    let operator = token(&issuer, "olga@ops", Some("t-3"), "admin:write").await?;
    acts_are_noted(&mesh, &operator).await?;
    let client = AuditServiceClient::connect(format!("http://{}", mesh.payments)).await?;
    let all = list(&client, &operator, "", 0).await?;
    let movement = |action: &str, user: &str, trace: &str, entry: &Value, amount| AuditEvent {
        id: entry.as_str().unwrap_or_default().to_owned(),
        action: action.into(),
        subject: user.into(),
        trace_id: trace.into(),
        x_request_id: request_in(trace),
        user_id: user.into(),
        amount,
        ..AuditEvent::default()
    };
    let expected = [
        movement("TOP_UP", "bob", FIRST, &theirs["id"], 5),
        AuditEvent {
            token_id: "t-2".into(),
            order_id: id.clone(),
            ..movement("ORDER_DEBIT", "alice", SECOND, &paid["ledgerEntryId"], -300)
        },
        AuditEvent {
            token_id: "t-1".into(),
            request_id: "monday".into(),
            ..movement("TOP_UP", "alice", FIRST, &topped_up["entry"]["id"], 1_000)
        },
    ];
    let moved: Vec<AuditEvent> =
        all[1..].iter().map(|event| AuditEvent { time: None, ..event.clone() }).collect();
    ensure!(moved == expected, "{moved:#?}");
    are_found(&client, &operator, &all, &id).await
}

/// What an operator does is the newest event of each service, and what is only counted is none.
async fn acts_are_noted(mesh: &Mesh, operator: &str) -> Result<()> {
    let redrive = RedriveParkedMessagesRequest { operator: "olga".into(), ..Default::default() };
    for (service, events) in [(mesh.orders, 1), (mesh.payments, 4)] {
        let url = format!("http://{service}");
        let mut admin = MessagingAdminServiceClient::connect(url.clone()).await?;
        admin.redrive_parked_messages(with(redrive.clone(), operator)?).await?;
        // A dry run does nothing.
        let dry = RedriveParkedMessagesRequest { dry_run: true, ..redrive.clone() };
        admin.redrive_parked_messages(with(dry, operator)?).await?;
        let all = list(&AuditServiceClient::connect(url).await?, operator, "", 0).await?;
        ensure!(all.len() == events, "{all:?}");
        let action = AuditEvent {
            action: "REDRIVE".into(),
            subject: "olga@ops".into(),
            token_id: "t-3".into(),
            trace_id: SECOND.into(),
            x_request_id: "request-9".into(),
            operator: "olga".into(),
            ..AuditEvent::default()
        };
        let noted = AuditEvent { id: String::new(), time: None, filter: String::new(), ..all[0].clone() };
        ensure!(noted == action && all[0].filter == "every message" && all[0].time.is_some(), "{all:?}");
    }
    Ok(())
}

/// Each filter finds its events of `all`, in pages of any size.
async fn are_found(
    client: &AuditServiceClient<Channel>,
    token: &str,
    all: &[AuditEvent],
    order: &str,
) -> Result<()> {
    let moment = |at: usize| all[at].time.map(|time| time.to_string()).context("a time");
    for (filter, found) in [
        (String::new(), vec![0, 1, 2, 3]),
        ("subject = alice".to_owned(), vec![2, 3]),
        ("subject != alice".to_owned(), vec![0, 1]),
        ("token_id = \"\"".to_owned(), vec![1]),
        ("token_id = t-2".to_owned(), vec![2]),
        (format!("trace_id = {FIRST} AND action = TOP_UP AND user_id = alice"), vec![3]),
        ("action != TOP_UP".to_owned(), vec![0, 2]),
        (format!("order_id = {order}"), vec![2]),
        ("order_id = \"\"".to_owned(), vec![0, 1, 3]),
        ("user_id = \"\"".to_owned(), vec![0]),
        ("x_request_id = request-9".to_owned(), vec![0]),
        (format!("x_request_id = \"{}\"", request_in(SECOND)), vec![2]),
        (format!("time <= \"{}\" AND time >= \"{}\"", moment(2)?, moment(3)?), vec![2, 3]),
        (format!("time < \"{}\"", moment(3)?), vec![]),
        (format!("time > \"{}\"", moment(0)?), vec![]),
    ] {
        let expected: Vec<&AuditEvent> = found.iter().map(|at| &all[*at]).collect();
        for page_size in [0, 1, 2] {
            let listed = list(client, token, &filter, page_size).await?;
            ensure!(listed.iter().collect::<Vec<_>>() == expected, "{filter}: {listed:#?}");
        }
    }
    for (filter, page_token, reason) in [
        ("colour = red", "", "INVALID_FILTER"),
        ("subject > a", "", "INVALID_FILTER"),
        ("order_id = seven", "", "INVALID_FILTER"),
        ("time = noon", "", "INVALID_FILTER"),
        ("", "AAAA", "INVALID_PAGE_TOKEN"),
    ] {
        let request =
            ListAuditEventsRequest { filter: filter.into(), page_token: page_token.into(), page_size: 0 };
        let refused = client.clone().list_audit_events(with(request, token)?).await.err();
        let refused = refused.with_context(|| filter.to_owned())?;
        let info = refused.get_error_details().error_info().cloned().context("a reason")?;
        ensure!(refused.code() == Code::InvalidArgument && info.reason == reason, "{filter}: {refused:?}");
    }
    Ok(())
}
