//! Permission comes before existence: who may not see something does not learn whether it is there, neither from an answer's body nor from its
//! headers.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use http::{HeaderMap, header};
use serde_json::Value;
use tonic::transport::Channel;
use world::{Answer, Api, Issuer, Scratch, answer, claims};

use super::{
    SCOPES, channel, inside,
    inside::Inside,
    inside_order, mesh, pool,
    rows::{Row, rows},
    verifier,
    ways::{Whose, refusal, wire},
};
use crate::mesh::EMBEDDED;

/// A verb, a path and a body, in which `$ORDER` or `$USER` stands for what the call is about.
type Route = (&'static str, String, Option<Value>);

/// Of the same request, so that what an answer repeats of it is the same too.
const ID: &str = "the-same";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Whether the rule of a method looks at the user who is stored with what the request names.
fn is_stored(row: &Row) -> bool {
    row.other.is_some_and(|other| other.ends_with("_NOT_FOUND"))
}

/// What is about an order, over HTTP and over Connect, each with its scope, and the reason that a stranger gets.
fn of_an_order() -> Vec<(Route, &'static str, &'static str)> {
    // Shipping is not behind this edge.
    let rows = rows().into_iter().filter(|row| is_stored(row) && row.service() != Some("shipping"));
    rows.flat_map(|row| {
        let (scope, reason) = (row.scope, row.other.unwrap_or_default());
        let connect = (!row.streams).then(|| ("POST", format!("/{}", row.method), Some(row.request)));
        let route = row.route.map(|(verb, path, body)| ((verb, path.to_owned(), body), scope, reason));
        route.into_iter().chain(connect.map(|route| (route, scope, "not_found")))
    })
    .collect()
}

/// The routes that name a user.
fn of_a_user() -> Vec<Route> {
    let rows = rows().into_iter().filter(|row| row.other == Some("NOT_OWNER"));
    rows.filter_map(|row| row.route.map(|(verb, path, body)| (verb, path.to_owned(), body))).collect()
}

/// All of an answer but the id that was asked for, and the time of the day.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    status: String,
    headers: BTreeMap<String, Vec<String>>,
    body: String,
}

impl Whole {
    fn of(status: String, headers: &HeaderMap, body: &str, id: &str) -> Self {
        let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in headers.iter().filter(|(name, _)| *name != header::DATE) {
            let value = format!("{value:?}").replace(id, "ID");
            all.entry(name.to_string()).or_default().push(value);
        }
        Self { status, headers: all, body: body.replace(id, "ID") }
    }
}

/// What a call about this id is answered, and the reason or the code of Connect.
async fn answered(api: &Api, (verb, path, body): &Route, id: &str) -> Result<(Whole, String)> {
    let named = |template: &str| template.replace("$ORDER", id).replace("$USER", id);
    let request = api.request(verb.parse()?, &named(path));
    let request = request.header("x-request-id", ID).header("traceparent", TRACE);
    let request = match body {
        Some(body) => request.header("content-type", "application/json").body(named(&body.to_string())),
        None => request,
    };
    let Answer { status, headers, text, body } = answer(request).await?;
    let reason = [&body["error"]["details"][0]["reason"], &body["code"]].map(Value::as_str);
    let reason = reason.into_iter().flatten().next().unwrap_or_default().to_owned();
    Ok((Whole::of(status.to_string(), &headers, &text, id), reason))
}

/// Calls a route about what is another user's and about what is not there, of the same length: the answers are the same.
async fn alike(api: &Api, route: &Route, ids: [&str; 2], status: u16, expected: &str) -> Result<()> {
    let [strangers, absent] = ids;
    ensure!(strangers.len() == absent.len(), "{ids:?}: content-length would differ");
    let ((strangers, reason), (absent, _)) =
        (answered(api, route, strangers).await?, answered(api, route, absent).await?);
    ensure!(strangers == absent, "{route:?}: {strangers:#?}, and of what is not there {absent:#?}");
    let is_expected = strangers.status.starts_with(&status.to_string()) && reason == expected;
    ensure!(is_expected, "{route:?}: {strangers:?} instead of {expected}");
    ensure!(strangers.headers.contains_key("content-type"), "{route:?}: {strangers:?} has no headers");
    Ok(())
}

/// An id of the same millisecond, and of nobody.
fn absent(id: &str) -> String {
    let last = if id.ends_with('0') { '1' } else { '0' };
    format!("{}{last}", &id[..id.len() - 1])
}

#[tokio::test]
async fn what_is_a_strangers_and_what_is_not_there_are_answered_alike() -> Result<()> {
    let issuer = Issuer::start().await?;
    let (mesh, orders) = mesh(&issuer, EMBEDDED).await?;
    let strangers = &orders["bob"];
    let absent = absent(strangers);
    let alice = async |scopes: &[&str]| {
        let token = issuer.token("first", &claims("alice", &scopes.join(" "), 3_600)).await?;
        anyhow::Ok(mesh.api.with_token(&token))
    };
    let api = alice(&SCOPES[..]).await?;
    let (of_an_order, of_a_user) = (of_an_order(), of_a_user());
    ensure!(of_an_order.len() > 8 && of_a_user.len() > 6, "{of_an_order:?} and {of_a_user:?}");
    for (route, scope, reason) in of_an_order {
        alike(&api, &route, [strangers, &absent], 404, reason).await?;
        let others: Vec<&str> = SCOPES.into_iter().filter(|other| *other != scope).collect();
        let api = alice(others.as_slice()).await?;
        let missing = if reason == "not_found" { "permission_denied" } else { "SCOPE_MISSING" };
        alike(&api, &route, [strangers, &absent], 403, missing).await?;
    }
    for route in of_a_user {
        alike(&api, &route, ["bob", "bop"], 403, "NOT_OWNER").await?;
    }
    Ok(())
}

/// The same over gRPC, at each service that has something of a user's, shipping among them.
#[tokio::test]
async fn services_answer_alike_over_grpc() -> Result<()> {
    let (issuer, scratch, pool) = (Issuer::start().await?, Scratch::new("alike")?, pool()?);
    let (mesh, orders) = mesh(&issuer, EMBEDDED).await?;
    let inside = Inside::start(scratch.path(), &verifier(&issuer)?, &inside::rules()?).await?;
    let token = async |user| issuer.token("first", &claims(user, &SCOPES.join(" "), 3_600)).await;
    let (alice, bob) = (token("alice").await?, token("bob").await?);
    let shipped = inside_order(&inside, &pool, "bob", &bob).await?;
    let edge = channel(mesh.api.base().trim_start_matches("http://").parse()?).await?;
    let (at_orders, at_payments) = (channel(mesh.orders).await?, channel(mesh.payments).await?);
    let mut compared = 0;
    for row in rows().iter().filter(|row| is_stored(row)) {
        let (order, channels): (&String, Vec<&Channel>) = match row.service() {
            Some("orders") => (&orders["bob"], vec![&at_orders, &edge]),
            Some("payments") => (&orders["bob"], vec![&at_payments, &edge]),
            _ => (&shipped, vec![&inside.shipping]),
        };
        for channel in channels {
            let of = async |order: &str| {
                let message = wire(&pool, row, Whose { user: "bob", order })?;
                let status = refusal(channel, row, message, &alice).await?;
                let headers = status.metadata().clone().into_headers();
                let body =
                    format!("{} {:?}", status.message(), bytes::Bytes::copy_from_slice(status.details()));
                anyhow::Ok(Whole::of(format!("{:?}", status.code()), &headers, &body, order))
            };
            let (strangers, absent) = (of(order).await?, of(&absent(order)).await?);
            ensure!(strangers == absent, "{}: {strangers:#?}, and {absent:#?}", row.method);
            let other = row.other.context("a reason")?;
            ensure!(strangers.status == "NotFound" && strangers.body.contains(other), "{strangers:?}");
            compared += 1;
        }
    }
    ensure!(compared > 10, "{compared} calls were compared");
    Ok(())
}
