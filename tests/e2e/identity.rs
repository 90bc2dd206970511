//! Who may do what: every method and every route, called with every kind of token, in every way.

mod alike;
mod inside;
mod own;
mod rows;
mod strangers;
mod ways;

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use auth::{Data, IssuerConfig, KeySource, Rule, Verifier};
use chassis::{clock::SystemClock, status::Reason, tls::ClientTls};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use prost_reflect::DescriptorPool;
use serde_json::json;
use service::Service as _;
use shipping::Shipping;
use tonic::transport::{Channel, Endpoint};
use world::{AUDIENCE, Api, ISSUER, Issuer, PATIENCE, Scratch, claims, eventually};

use self::{
    inside::Inside,
    rows::{Row, rows},
    strangers::refused,
    ways::{Outcome, Whose, at_admin, connect, connect_by_get, grpc, grpc_web, http, socket, wire},
};
use crate::mesh::{Arrangement, EMBEDDED, Mesh};

/// Every scope of users.
const SCOPES: [&str; 5] = ["orders:read", "orders:write", "payments:read", "payments:write", "shipping:read"];

/// A kind of caller, and what is expected of a call.
struct Caller {
    what: &'static str,
    token: Option<String>,
    means: &'static str,
    expected: Expected,
}

/// What is expected of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Expected {
    /// UNAUTHENTICATED, by the check with this word.
    Unauthenticated(&'static str),
    /// This reason; empty for OK.
    Reason(String),
}

impl Expected {
    fn is_ok(&self) -> bool {
        *self == Self::Reason(String::new())
    }

    fn meets(&self, outcome: &Outcome, is_http: bool) -> bool {
        let (reason, check) = match self {
            Self::Unauthenticated(check) => ("UNAUTHENTICATED", *check),
            Self::Reason(reason) => (reason.as_str(), ""),
        };
        let known = Reason::parse(reason);
        let code = match known {
            Some(reason) if is_http => reason.http().as_u16(),
            Some(reason) => reason.code() as u16,
            None if is_http => 200,
            None => 0,
        };
        let challenge = match (self, reason) {
            _ if !is_http => outcome.challenge.is_empty(),
            (Self::Unauthenticated("present"), _) => outcome.challenge == "Bearer",
            (Self::Unauthenticated(_), _) => outcome.challenge.starts_with("Bearer error=\"invalid_token\""),
            (_, "SCOPE_MISSING") => {
                outcome.challenge.starts_with("Bearer error=\"insufficient_scope\", scope=\"")
            }
            _ => outcome.challenge.is_empty(),
        };
        known.is_some() != reason.is_empty()
            && outcome.code == code
            && outcome.reason == reason
            && outcome.check == check
            && challenge
    }
}

/// Callers who are not let in, at once.
const AT_ONCE: usize = 32;

/// Every kind of caller of a row.
async fn callers(
    issuer: &Issuer,
    row: &Row,
    refused: &[(&'static str, Option<String>, &'static str)],
) -> Result<Vec<Caller>> {
    let mut callers: Vec<Caller> = refused
        .iter()
        .map(|(what, token, check)| Caller {
            what,
            token: token.clone(),
            means: "own",
            expected: Expected::Unauthenticated(check),
        })
        .collect();
    let others = SCOPES.into_iter().filter(|scope| *scope != row.scope).collect::<Vec<_>>().join(" ");
    let mut add = async |what, user, scope: &str, means, reason: &str| {
        let token = Some(issuer.token("first", &claims(user, scope, 3_600)).await?);
        callers.push(Caller { what, token, means, expected: Expected::Reason(reason.to_owned()) });
        anyhow::Ok(())
    };
    add("missing scope", "alice", &others, "own", "SCOPE_MISSING").await?;
    add("own", "alice", row.scope, "own", row.own).await?;
    if let Some(other) = row.other {
        add("another user's", "alice", row.scope, "other", other).await?;
        add("of nobody", "auth0|7", row.scope, "own", "").await?;
        // The last one is no user.
        callers.last_mut().context("it was added")?.expected = Expected::Unauthenticated("subject");
        let mut add = async |what, scope: &str, reason: &str| {
            let token = Some(issuer.token("first", &claims("the operator", scope, 3_600)).await?);
            callers.push(Caller {
                what,
                token,
                means: "other",
                expected: Expected::Reason(reason.to_owned()),
            });
            anyhow::Ok(())
        };
        add("operator", "admin:write", row.operator).await?;
        add("operator who looks", "admin:read", row.operator).await?;
    }
    Ok(callers)
}

/// A mesh that believes an issuer, with an order of each user that has ended.
pub(crate) async fn mesh(
    issuer: &Issuer,
    arrangement: Arrangement,
) -> Result<(Mesh, BTreeMap<&'static str, String>)> {
    let mesh = Mesh::start_with(arrangement, &issuer.env()).await?;
    let mut orders = BTreeMap::new();
    for user in ["alice", "bob"] {
        let api = mesh.api.with_token(&issuer.token("first", &claims(user, &SCOPES.join(" "), 3_600)).await?);
        let opened = api.post("/gateway/payments", &json!({})).await?;
        ensure!(opened.status == 200 && opened.body["userId"] == user, "{}", opened.text);
        let topped_up =
            api.post(&format!("/gateway/payments/{user}/top-up"), &json!({ "amount": 1_000 })).await?;
        ensure!(topped_up.status == 200, "{}", topped_up.text);
        let placed = api.post("/gateway/orders", &json!({ "amount": 1 })).await?;
        let id = placed.body["id"].as_str().with_context(|| placed.text.clone())?.to_owned();
        ensure!(placed.body["userId"] == user, "{}", placed.text);
        eventually("the end of the order", PATIENCE, async || {
            let order = api.get(&format!("/gateway/orders/{id}")).await?;
            ensure!(order.body["status"] == "FINISHED", "{}", order.text);
            anyhow::Ok(())
        })
        .await?;
        orders.insert(user, id);
    }
    Ok((mesh, orders))
}

async fn channel(address: std::net::SocketAddr) -> Result<Channel> {
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect().await?)
}

fn pool() -> Result<DescriptorPool> {
    let mut pool = DescriptorPool::new();
    for set in Shipping::DESCRIPTOR_SETS {
        pool.decode_file_descriptor_set(*set)?;
    }
    Ok(pool)
}

#[test]
fn the_table_has_every_method() -> Result<()> {
    let rows: BTreeSet<String> = rows().iter().map(|row| row.method.to_owned()).collect();
    let services: Vec<_> = pool()?.services().collect();
    let methods = services.iter().flat_map(|service| {
        service
            .methods()
            .map(|method| format!("{}/{}", service.full_name(), method.name()))
            .collect::<Vec<_>>()
    });
    ensure!(rows == methods.collect(), "{rows:?}");
    Ok(())
}

/// Where the cells of the table are tried.
struct Table<'m> {
    mesh: &'m Mesh,
    services: BTreeMap<&'static str, Channel>,
    edge: Channel,
    pool: DescriptorPool,
    /// Each user at the edge, with every scope of users.
    users: BTreeMap<&'static str, Api>,
}

impl Table<'_> {
    /// Places orders of a user, until nobody waits for it.
    async fn orders_of(&self, user: &str) -> Result<Outcome> {
        loop {
            let placed = self.users[user].post("/gateway/orders", &json!({ "amount": 1 })).await?;
            ensure!(placed.status == 200, "{}", placed.text);
        }
    }

    /// How many cells a caller of a row has, and what is wrong in them. Shipping has no edge, and here no operator's listener.
    async fn cells(&self, row: &Row, caller: Caller, whose: Whose<'_>) -> Result<(usize, Vec<String>)> {
        let Caller { what, token, expected, .. } = caller;
        let (token, wire) = (token.as_deref(), wire(&self.pool, row, whose)?);
        let mut outcomes = Vec::new();
        for (name, service) in &self.services {
            if row.service().is_none_or(|only| only == *name) {
                outcomes.push((*name, false, grpc(service, row, wire.clone(), token).await?));
                if row.admin.is_some() && *name != "shipping" {
                    let mut outcome = at_admin(self.mesh.admin(name)?, name, row, whose, token).await?;
                    // Problem details have no word for the check.
                    if let Expected::Unauthenticated(check) = &expected {
                        outcome.check = (*check).to_owned();
                    }
                    outcomes.push(("the operator's listener", true, outcome));
                }
            }
        }
        if row.route.is_some() {
            outcomes.push(("gRPC at the edge", false, grpc(&self.edge, row, wire.clone(), token).await?));
            outcomes.push(("gRPC-Web", false, grpc_web(&self.mesh.api, row, wire.clone(), token).await?));
            outcomes.push(("HTTP", true, http(&self.mesh.api, row, whose, token).await?));
        }
        if let Some((verb, ..)) = row.route {
            let json = whose.text(&row.request.to_string()).into_bytes();
            for (way, message) in [("Connect", ("proto", wire.to_vec())), ("Connect in JSON", ("json", json))]
            {
                // Connect says with its first message that all is well, and a board has none before something happens.
                let is_board = expected.is_ok() && row.method.ends_with("/WatchOrders");
                let outcome = tokio::select! {
                    outcome = connect(&self.mesh.api, row, message, token) => outcome?,
                    stopped = self.orders_of(whose.user), if is_board => stopped?,
                };
                outcomes.push((way, !row.streams, outcome));
            }
            if verb == "GET" && !row.streams {
                let outcome = connect_by_get(&self.mesh.api, row, &wire, token).await?;
                outcomes.push(("Connect by GET", true, outcome));
            }
        }
        if row.streams {
            outcomes.push(("a WebSocket", true, socket(&self.mesh.api, row, whose, token).await?));
        }
        let wrong = outcomes.iter().filter(|(_, is_http, outcome)| !expected.meets(outcome, *is_http));
        let wrong = wrong.map(|(way, _, outcome)| {
            format!("{}, {what}, {way}: {outcome:?} instead of {expected:?}", row.method)
        });
        Ok((outcomes.len(), wrong.collect()))
    }
}

/// What believes an issuer in the test's own process.
fn verifier(issuer: &Issuer) -> Result<Verifier> {
    let config = IssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec![AUDIENCE.to_owned()],
        keys: KeySource::Url(issuer.jwks_url().parse()?),
        algorithms: vec!["ES256".parse()?],
        scope_claim: "scope".to_owned(),
        max_age: std::time::Duration::from_secs(3_600),
        tls: ClientTls::default(),
    };
    Ok(Verifier::new(config, SystemClock::shared())?)
}

#[tokio::test]
async fn every_cell_of_the_table_holds() -> Result<()> {
    let issuer = Issuer::start().await?;
    let (mesh, orders) = mesh(&issuer, EMBEDDED).await?;
    let (refused, rows, pool, scratch) = (refused(&issuer).await?, rows(), pool()?, Scratch::new("table")?);
    let inside = Inside::start(scratch.path(), &verifier(&issuer)?, &inside::rules()?).await?;
    let (mut shipped, mut users) = (BTreeMap::new(), BTreeMap::new());
    for user in ["alice", "bob"] {
        let token = issuer.token("first", &claims(user, &SCOPES.join(" "), 3_600)).await?;
        shipped.insert(user, inside_order(&inside, &pool, user, &token).await?);
        users.insert(user, mesh.api.with_token(&token));
    }
    let table = Table {
        services: BTreeMap::from([
            ("orders", channel(mesh.orders).await?),
            ("payments", channel(mesh.payments).await?),
            ("shipping", inside.shipping.clone()),
        ]),
        edge: channel(mesh.api.base().trim_start_matches("http://").parse()?).await?,
        mesh: &mesh,
        pool,
        users,
    };
    let (mut found, mut strangers) = (Vec::new(), Vec::new());
    for row in &rows {
        let orders = if row.service() == Some("shipping") { &shipped } else { &orders };
        for caller in callers(&issuer, row, &refused).await? {
            let user = if caller.means == "own" { "alice" } else { "bob" };
            let whose = Whose { user, order: &orders[user] };
            if matches!(caller.expected, Expected::Unauthenticated(_)) {
                strangers.push(table.cells(row, caller, whose));
            } else {
                found.push(table.cells(row, caller, whose).await?);
            }
        }
    }
    // Who is not let in changes nothing. Many at once, because each with an unknown key waits until the issuer may be asked again.
    found.extend(stream::iter(strangers).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await?);
    let cells: usize = found.iter().map(|(cells, _)| cells).sum();
    let wrong: Vec<String> = found.into_iter().flat_map(|(_, wrong)| wrong).collect();
    ensure!(wrong.is_empty() && cells > 2_200, "{} of {cells} cells:\n{}", wrong.len(), wrong.join("\n"));
    Ok(())
}

/// What the table expects of another user's data is what the rules are for: without any one of them, the table says so.
#[tokio::test]
async fn a_rule_without_its_owner_is_seen_by_the_table() -> Result<()> {
    let (issuer, scratch, pool) = (Issuer::start().await?, Scratch::new("rules")?, pool()?);
    let verifier = verifier(&issuer)?;
    let rules = inside::rules()?;
    let token = async |user| issuer.token("first", &claims(user, &SCOPES.join(" "), 3_600)).await;
    let (alice, bob) = (token("alice").await?, token("bob").await?);
    let inside = Inside::start(scratch.path(), &verifier, &rules).await?;
    let order = inside_order(&inside, &pool, "bob", &bob).await?;
    drop(inside);
    let whose = Whose { user: "bob", order: &order };
    let mut owned = 0;
    for row in rows().iter().filter(|row| row.other.is_some()) {
        let other = Expected::Reason(row.other.unwrap_or_default().to_owned());
        let path = format!("/{}", row.method);
        let rule = rules.get(&path).context(path.clone())?;
        for (rules, is_whole) in [
            (rules.clone(), true),
            (rules.clone().with(&path, Rule { data: Data::All, ..rule.clone() }), false),
        ] {
            let inside = Inside::start(scratch.path(), &verifier, &rules).await?;
            let service = inside.service(row.service().context("a service")?);
            let outcome = grpc(service, row, wire(&pool, row, whose)?, Some(&alice)).await?;
            ensure!(other.meets(&outcome, false) == is_whole, "{path}, whole: {is_whole}: {outcome:?}");
        }
        owned += 1;
    }
    ensure!(owned == 13, "{owned} methods are about a user's data");
    Ok(())
}

/// Lets a user have an account, and an order that is paid and shipped.
async fn inside_order(inside: &Inside, pool: &DescriptorPool, user: &str, token: &str) -> Result<String> {
    use ordermesh::{
        orders::v1::{CreateOrderRequest, Order, orders_service_client::OrdersServiceClient},
        payments::v1::{
            CreateAccountRequest, TopUpAccountRequest, payments_service_client::PaymentsServiceClient,
        },
    };
    fn with<T>(message: T, token: &str) -> Result<tonic::Request<T>> {
        let mut request = tonic::Request::new(message);
        request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
        Ok(request)
    }
    let mut payments = PaymentsServiceClient::new(inside.payments.clone());
    payments.create_account(with(CreateAccountRequest::default(), token)?).await?;
    payments.top_up_account(with(TopUpAccountRequest { amount: 10, ..Default::default() }, token)?).await?;
    let order = Some(Order { amount: 1, ..Order::default() });
    let request = with(CreateOrderRequest { order, ..Default::default() }, token)?;
    let order = OrdersServiceClient::new(inside.orders.clone()).create_order(request).await?.into_inner();
    ensure!(order.user_id == user, "{order:?}");
    let rows = rows();
    let shipment = rows.iter().find(|row| row.method.ends_with("GetShipment")).context("a row")?;
    let whose = Whose { user, order: &order.id };
    eventually("the shipment", PATIENCE, async || {
        let outcome = grpc(&inside.shipping, shipment, wire(pool, shipment, whose)?, Some(token)).await?;
        ensure!(outcome.code == 0, "{outcome:?}");
        anyhow::Ok(())
    })
    .await?;
    Ok(order.id)
}
