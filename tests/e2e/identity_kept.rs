//! Identity under way: streams end with their tokens, keys change and the issuer goes while calls are made, and of two users neither ever
//! sees a row of the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, future::try_join_all};
use ordermesh::orders::v1::{
    ListOrdersRequest, WatchOrderRequest, WatchOrdersRequest, order,
    orders_service_client::OrdersServiceClient,
};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use tonic::{Code, Request, Streaming};
use tonic_types::StatusExt as _;
use world::{Api, Issuer, PATIENCE, claims};

use crate::{
    identity::mesh,
    mesh::{Arrangement, EMBEDDED, Mesh},
    scrape::Scrape,
};

/// Every scope of users.
pub(crate) const ALL: &str = "orders:read orders:write payments:read payments:write";

/// A request with this token.
pub(crate) fn with<T>(message: T, token: &str) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    Ok(request)
}

/// How the stream of a board ends, in each of the ways to watch: a reason for each.
async fn ends(mesh: &Mesh, token: &str) -> Result<[String; 4]> {
    let (api, path) = (mesh.api.with_token(token), "/gateway/orders:watch");
    let events = async {
        let response = api.request(reqwest::Method::GET, path).send().await?;
        ensure!(response.status() == 200, "{}", response.status());
        let text = response.text().await?;
        let error = text.split("event: error\ndata: ").nth(1).with_context(|| text.clone())?;
        reason(&serde_json::from_str(error.trim())?)
    };
    let socket = async {
        let mut request = format!("{}{path}", mesh.api.base().replace("http", "ws")).into_client_request()?;
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
        let (mut socket, _) = connect_async(request).await?;
        while let Some(message) = socket.next().await {
            if let Message::Close(close) = message? {
                return Ok(close.context("a code")?.reason.to_string());
            }
        }
        anyhow::bail!("no close")
    };
    let edge = grpc_end(mesh.api.base().to_owned(), token);
    let service = grpc_end(format!("http://{}", mesh.orders), token);
    let (events, socket, edge, service) = tokio::try_join!(events, socket, edge, service)?;
    Ok([events, socket, edge, service])
}

async fn grpc_end(url: String, token: &str) -> Result<String> {
    let mut client = OrdersServiceClient::connect(url).await?;
    end(client.watch_orders(with(WatchOrdersRequest::default(), token)?).await?.into_inner()).await
}

/// The check by which a stream ends.
async fn end<T>(mut events: Streaming<T>) -> Result<String> {
    loop {
        match events.message().await {
            Ok(Some(_)) => {}
            Ok(None) => anyhow::bail!("an end without a word"),
            Err(status) => {
                ensure!(status.code() == Code::Unauthenticated, "{status}");
                return Ok(
                    status.get_error_details().error_info().context("a reason")?.metadata["check"].clone()
                );
            }
        }
    }
}

fn reason(error: &Value) -> Result<String> {
    Ok(error["error"]["details"][0]["reason"].as_str().with_context(|| error.to_string())?.to_owned())
}

#[tokio::test]
async fn a_watch_ends_when_its_token_expires() -> Result<()> {
    let issuer = Issuer::start().await?;
    let (mesh, _) = mesh(&issuer, EMBEDDED).await?;
    let begun = Instant::now();
    let token = issuer.token("first", &claims("alice", ALL, 4)).await?;
    let ends = timeout(PATIENCE, ends(&mesh, &token)).await.context("a watch goes on")??;
    ensure!(ends == ["UNAUTHENTICATED", "UNAUTHENTICATED", "expiry", "expiry"], "{ends:?}");
    // The end is a whole second, and the token was made within one.
    let lasted = begun.elapsed();
    ensure!(lasted > Duration::from_secs(2) && lasted < Duration::from_secs(8), "{lasted:?}");
    Ok(())
}

/// What lets nobody in any longer keeps nobody in.
#[tokio::test]
async fn a_watch_ends_when_its_key_is_withdrawn() -> Result<()> {
    let issuer = Issuer::start().await?;
    issuer.make("second", "ES256").await?;
    let (mesh, _) = mesh(&issuer, EMBEDDED).await?;
    let token = issuer.token("first", &claims("alice", ALL, 3_600)).await?;
    let mut client = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    let watch = with(WatchOrdersRequest::default(), &token)?;
    let events = client.watch_orders(watch).await?.into_inner();
    issuer.publish(&["second"]).await?;
    // The first token of a key that is not known yet has the keys looked at.
    let new = issuer.token("second", &claims("bob", ALL, 3_600)).await?;
    client.list_orders(with(ListOrdersRequest::default(), &new)?).await?;
    let check = timeout(PATIENCE, end(events)).await.context("the watch goes on")??;
    ensure!(check == "key", "{check}");
    Ok(())
}

/// The edge and the services of one process remember the same tokens.
#[tokio::test]
async fn a_token_costs_one_check_of_its_signature() -> Result<()> {
    let issuer = Issuer::start().await?;
    let mesh = Mesh::start_with(EMBEDDED, &issuer.env()).await?;
    let checks =
        async || Scrape::of(mesh.admin("ordermesh")?).await?.number("auth_signature_checks_total", &[]);
    ensure!(checks().await? == 0.0, "nobody has called");
    let mut client = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    for (user, expected) in [("alice", 1.0), ("bob", 2.0)] {
        let token = issuer.token("first", &claims(user, ALL, 3_600)).await?;
        let api = mesh.api.with_token(&token);
        for _ in 0..100 {
            let listed = api.get("/gateway/orders").await?;
            ensure!(listed.status == 200, "{}", listed.text);
            client.list_orders(with(ListOrdersRequest::default(), &token)?).await?;
        }
        let checked = checks().await?;
        ensure!(checked == expected, "{checked} signatures were checked after the calls of {user}");
    }
    Ok(())
}

/// Every user id in an answer.
fn users(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.iter().for_each(|(name, member)| match member {
            Value::String(user) if name == "userId" => found.push(user.clone()),
            member => users(member, found),
        }),
        Value::Array(values) => values.iter().for_each(|value| users(value, found)),
        _ => {}
    }
}

/// One call of a user, chosen at random; fails when its answer has anything of another user.
async fn mixed(
    api: &Api,
    user: &str,
    other_order: &str,
    pages: &mut Vec<String>,
    random: &mut StdRng,
) -> Result<()> {
    let filters =
        ["", "filter=amount%20%3E%3D%201", "orderBy=amount%20desc", "status=FINISHED", "orderBy=create_time"];
    let filter = filters[random.random_range(0..filters.len())];
    let path = match random.random_range(0..10) {
        0 | 1 => {
            let order = json!({ "amount": random.random_range(1..9), "description": user });
            let key = format!("key-{}", random.random_range(0..200));
            // Both users have the same keys.
            let placed = api.post_with_key("/gateway/orders", &key, &order).await?;
            ensure!(
                placed.status == 200 || placed.text.contains("IDEMPOTENCY_KEY_REUSED"),
                "{}",
                placed.text
            );
            ensure!(placed.status != 200 || placed.body["userId"] == user, "{}", placed.text);
            return Ok(());
        }
        2 => format!("/gateway/orders/{other_order}"),
        3 => format!("/gateway/orders/{other_order}/events"),
        4 => format!("/gateway/payments/{user}/entries?pageSize=3"),
        5 => "/gateway/orders?pageSize=3&pageToken=".to_owned() + pages.last().map_or("", String::as_str),
        6 => format!("/gateway/orders/{other_order}/payment"),
        _ => format!("/gateway/orders?pageSize={}&{filter}", random.random_range(1..40)),
    };
    let answer = api.get(&path).await?;
    let mut found = Vec::new();
    users(&answer.body, &mut found);
    ensure!(found.iter().all(|found| found == user), "{user} sees {}", answer.text);
    let is_expected = answer.status == 200
        || answer.status == 404 && path.contains(other_order)
        || answer.status == 400 && answer.text.contains("INVALID_PAGE_TOKEN");
    ensure!(is_expected && !(answer.status == 200 && path.contains(other_order)), "{path}: {}", answer.text);
    if path.starts_with("/gateway/orders?pageSize=3") {
        pages.extend(answer.body["nextPageToken"].as_str().map(str::to_owned));
    }
    Ok(())
}

#[tokio::test]
async fn two_users_never_see_each_other_on_sqlite() -> Result<()> {
    two_users(EMBEDDED, 10_000).await
}

#[tokio::test]
async fn two_users_never_see_each_other_on_postgresql() -> Result<()> {
    two_users(Arrangement { postgres: true, ..EMBEDDED }, 2_000).await
}

async fn two_users(arrangement: Arrangement, calls: usize) -> Result<()> {
    const TASKS: usize = 8;
    let issuer = Issuer::start().await?;
    let (mesh, orders) = mesh(&issuer, arrangement).await?;
    let watched = Arc::new(AtomicUsize::new(0));
    let (mut boards, mut tasks) = (tokio::task::JoinSet::new(), Vec::new());
    for (user, other) in [("alice", "bob"), ("bob", "alice")] {
        let token = issuer.token("first", &claims(user, ALL, 3_600)).await?;
        let mut client = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
        let stranger = client.watch_order(with(
            WatchOrderRequest { order_id: orders[other].clone(), after_version: 0 },
            &token,
        )?);
        ensure!(
            stranger.await.is_err_and(|status| status.code() == Code::NotFound),
            "{user} watches {other}"
        );
        let mut board = client.watch_orders(with(WatchOrdersRequest::default(), &token)?).await?.into_inner();
        let (watched, user_id) = (Arc::clone(&watched), user.to_owned());
        boards.spawn(async move {
            while let Some(event) = board.message().await? {
                let order = event.order.context("an order")?;
                ensure!(order.user_id == user_id, "{user_id} is shown {order:?}");
                watched.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
        for number in 0..TASKS / 2 {
            let (api, other_order) = (mesh.api.with_token(&token), orders[other].clone());
            tasks.push(async move {
                let mut random = StdRng::seed_from_u64(number as u64);
                let mut pages = Vec::new();
                for _ in 0..calls / TASKS {
                    mixed(&api, user, &other_order, &mut pages, &mut random).await?;
                }
                // The pages of one are no pages of the other.
                anyhow::Ok((user, pages))
            });
        }
    }
    let walked = try_join_all(tasks).await?;
    ensure!(watched.load(Ordering::Relaxed) > 50, "{watched:?} changes were shown");
    ensure!(boards.try_join_next().is_none(), "a board has ended");
    for (user, other) in [("alice", "bob"), ("bob", "alice")] {
        let api = mesh.api.with_token(&issuer.token("first", &claims(other, ALL, 3_600)).await?);
        let page = walked.iter().filter(|(whose, _)| *whose == user).find_map(|(_, pages)| pages.first());
        let stolen =
            api.get(&format!("/gateway/orders?pageSize=3&pageToken={}", page.context("a page")?)).await?;
        ensure!(stolen.status == 400 && stolen.text.contains("INVALID_PAGE_TOKEN"), "{}", stolen.text);
    }
    Ok(())
}

/// Reads orders until the end, and counts the calls; every call must succeed.
async fn load(api: &tokio::sync::watch::Receiver<Api>, over: &AtomicBool, calls: &AtomicUsize) -> Result<()> {
    while !over.load(Ordering::Relaxed) {
        let api = api.borrow().clone();
        let answer = api.get("/gateway/orders?pageSize=1").await?;
        ensure!(answer.status == 200, "after {calls:?} calls: {}", answer.text);
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

#[tokio::test]
async fn keys_change_and_the_issuer_goes_under_load() -> Result<()> {
    let issuer = Issuer::start().await?;
    let (mesh, _) = mesh(&issuer, EMBEDDED).await?;
    let token = async |kid: &str| issuer.token(kid, &claims("alice", ALL, 3_600)).await;
    let (sender, api) = tokio::sync::watch::channel(mesh.api.with_token(&token("first").await?));
    let (over, calls) = (AtomicBool::new(false), AtomicUsize::new(0));
    let loads = try_join_all((0..4).map(|_| load(&api, &over, &calls)));
    let changes = async {
        let ended = async |kid: &str| {
            issuer.make(kid, "ES256").await?;
            anyhow::Ok(())
        };
        let mut before = "first".to_owned();
        for number in 0..3 {
            let next = format!("key-{number}");
            ended(&next).await?;
            // As an issuer changes keys: it publishes one before it signs with it, and withdraws one when nobody has a token of it.
            issuer.publish(&[&before, &next]).await?;
            sender.send(mesh.api.with_token(&token(&next).await?))?;
            some_more(&calls).await?;
            issuer.publish(&[&next]).await?;
            some_more(&calls).await?;
            before = next;
        }
        issuer.away(true).await?;
        sender.send(mesh.api.with_token(&token(&before).await?))?;
        issuer.make("new", "ES256").await?;
        let unknown = mesh.api.with_token(&token("new").await?).get("/gateway/orders").await?;
        ensure!(
            unknown.status == 401 && unknown.body["error"]["details"][0]["metadata"]["check"] == "key",
            "{}",
            unknown.text
        );
        some_more(&calls).await?;
        issuer_is(&mesh, "degraded").await?;
        issuer.away(false).await?;
        issuer.publish(&[&before, "new"]).await?;
        let known = mesh.api.with_token(&token("new").await?).get("/gateway/orders").await?;
        ensure!(known.status == 200, "{}", known.text);
        issuer_is(&mesh, "ok").await?;
        over.store(true, Ordering::Relaxed);
        anyhow::Ok(())
    };
    tokio::try_join!(loads, changes)?;
    Ok(())
}

/// Waits until readiness, which is given all the time, shows the issuer so.
async fn issuer_is(mesh: &Mesh, state: &str) -> Result<()> {
    world::eventually("the state of the issuer", PATIENCE, async || {
        let shown = mesh.admin("orders")?.get("/readyz").await?;
        ensure!(shown.status == 200 && shown.body["states"]["issuer"] == state, "{}", shown.text);
        anyhow::Ok(())
    })
    .await
}

/// Waits for some more calls of the load.
async fn some_more(calls: &AtomicUsize) -> Result<()> {
    let before = calls.load(Ordering::Relaxed);
    world::eventually("some more calls", PATIENCE, async || {
        ensure!(calls.load(Ordering::Relaxed) > before + 100);
        anyhow::Ok(())
    })
    .await
}

#[tokio::test]
async fn an_operator_checks_the_books_with_a_token() -> Result<()> {
    let issuer = Issuer::start().await?;
    let (mesh, orders) = mesh(&issuer, EMBEDDED).await?;
    mesh.at_rest().await?;
    let check = async |scope: &str| {
        let token = issuer.token("first", &claims("olga", scope, 600)).await?;
        let mut check = world::Program::named("ordermesh")?
            .args(["check", "--json"])
            .args(["--orders-url".to_owned(), format!("http://{}", mesh.orders)])
            .args(["--payments-url".to_owned(), format!("http://{}", mesh.payments)])
            .env("ADMIN_TOKEN", token)
            .start()?;
        let status = check.wait(PATIENCE).await?;
        anyhow::Ok((status.success(), check.output()))
    };
    let (is_well, output) = check("admin:read").await?;
    ensure!(is_well, "{output}");
    let (is_well, output) = check(ALL).await?;
    ensure!(!is_well && output.contains("admin:read"), "{output}");
    let found = mesh.api.with_token(&issuer.token("first", &claims("olga", "admin:read", 600)).await?);
    let listed = found.get("/gateway/orders").await?;
    let ids: Vec<_> =
        listed.body["orders"].as_array().into_iter().flatten().map(|order| order["id"].as_str()).collect();
    ensure!(orders.values().all(|id| ids.contains(&Some(id))), "{}", listed.text);
    let finished = ListOrdersRequest { status: order::Status::Finished.into(), ..Default::default() };
    let mut client = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    let token = issuer.token("first", &claims("olga", "admin:read", 600)).await?;
    ensure!(client.list_orders(with(finished, &token)?).await?.into_inner().orders.len() == 2);
    Ok(())
}
