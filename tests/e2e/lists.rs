//! Lists: filters, orders, and walks through the pages that miss and repeat nothing while orders are placed (I11).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ordermesh::orders::v1::{
    CreateOrderRequest, ListOrdersRequest, ListOrdersResponse, Order,
    orders_service_client::OrdersServiceClient,
};
use serde_json::{Value, json};
use tonic::transport::Channel;

use crate::mesh::{EMBEDDED, Mesh};

type Client = OrdersServiceClient<Channel>;

const ORDERS: usize = 10_000;
const INSERTED: usize = 1_000;
const PAGE: i32 = 50;

async fn place(client: &Client, count: usize, user: &str) -> Result<Vec<String>> {
    let placed = stream::iter(0..count).map(|at| {
        let mut client = client.clone();
        let amount = i64::try_from(at % 97).unwrap_or_default() + 1;
        let order = Order { user_id: user.to_owned(), amount, ..Order::default() };
        async move {
            let request = CreateOrderRequest { order: Some(order), ..CreateOrderRequest::default() };
            Ok::<_, tonic::Status>(client.create_order(request).await?.into_inner().id)
        }
    });
    Ok(placed.buffer_unordered(200).try_collect().await?)
}

async fn list_orders(client: &Client, order_by: &str, page_token: String) -> Result<ListOrdersResponse> {
    let request = ListOrdersRequest {
        page_size: PAGE,
        page_token,
        order_by: order_by.to_owned(),
        ..Default::default()
    };
    Ok(client.clone().list_orders(request).await?.into_inner())
}

/// Walks through all pages, and returns the ids and the tokens on the way.
async fn walk(client: &Client, order_by: &str) -> Result<(Vec<String>, Vec<String>)> {
    let (mut ids, mut tokens) = (Vec::new(), vec![String::new()]);
    loop {
        let page = list_orders(client, order_by, tokens.last().cloned().unwrap_or_default()).await?;
        ids.extend(page.orders.into_iter().map(|order| order.id));
        if page.next_page_token.is_empty() {
            return Ok((ids, tokens));
        }
        tokens.push(page.next_page_token);
    }
}

#[tokio::test]
async fn a_walk_under_inserts_misses_and_repeats_nothing() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    let client = Client::connect(format!("http://{}", mesh.orders)).await?;
    let before: BTreeSet<String> = place(&client, ORDERS, "alice").await?.into_iter().collect();
    let (newest, by_amount, inserted) =
        tokio::try_join!(walk(&client, ""), walk(&client, "amount desc"), place(&client, INSERTED, "bob"),)?;
    ensure!(inserted.len() == INSERTED);
    let (newest, tokens) = newest;
    ensure!(newest.is_sorted_by(|one, next| one > next), "the newest come first, each once");
    for ids in [newest, by_amount.0] {
        let walked: BTreeSet<String> = ids.iter().cloned().collect();
        ensure!(walked.len() == ids.len(), "{} orders came again", ids.len() - walked.len());
        let missed = before.difference(&walked).count();
        ensure!(missed == 0, "{missed} orders were missed");
    }
    let token = tokens.get(199).context("there are 200 pages")?;
    depth_costs_nothing(&client, token).await
}

/// Page 200 takes at most 1.2 times what page 1 takes: the best of many, because others use the machine too.
async fn depth_costs_nothing(client: &Client, token: &str) -> Result<()> {
    let mut best = [Duration::MAX; 2];
    for round in 1..=200 {
        for (best, token) in best.iter_mut().zip(["", token]) {
            let began = Instant::now();
            let page = list_orders(client, "", token.to_owned()).await?;
            *best = began.elapsed().min(*best);
            ensure!(page.orders.len() == usize::try_from(PAGE)?, "a full page");
        }
        if round >= 20 && best[1] <= best[0].mul_f64(1.2) {
            return Ok(());
        }
    }
    anyhow::bail!("page 1 took {:?}, page 200 {:?}", best[0], best[1])
}

#[tokio::test]
async fn filters_and_orders_do_what_they_say() -> Result<()> {
    let mesh = Mesh::start(EMBEDDED).await?;
    mesh.account("alice", 100).await?;
    for (key, amount) in [("key 1", 10), ("key-2", 20), ("key-3", 500), ("key-4", 30)] {
        let order = json!({ "userId": "alice", "amount": amount });
        let placed = mesh.api.post_with_key("/gateway/orders", key, &order).await?;
        mesh.ended(placed.body["id"].as_str().context("an order has an id")?).await?;
    }
    let second = list(&mesh, "filter=request_id%3Dkey-2").await?;
    let second = second[0]["createTime"].as_str().context("an order has a time")?.replace('+', "%2B");
    for (query, amounts) in [
        ("".to_owned(), vec!["30", "500", "20", "10"]),
        ("orderBy=create_time".to_owned(), vec!["10", "20", "500", "30"]),
        ("orderBy=amount%20desc".to_owned(), vec!["500", "30", "20", "10"]),
        ("orderBy=amount&pageSize=2".to_owned(), vec!["10", "20", "30", "500"]),
        ("orderBy=amount%20desc&pageSize=1&userId=alice".to_owned(), vec!["500", "30", "20", "10"]),
        ("filter=status%3DFINISHED".to_owned(), vec!["30", "20", "10"]),
        ("filter=status!%3DFINISHED".to_owned(), vec!["500"]),
        ("filter=cancel_reason%20%3D%20INSUFFICIENT_FUNDS".to_owned(), vec!["500"]),
        ("filter=amount%3E10%20AND%20amount%3C%3D30".to_owned(), vec!["30", "20"]),
        ("filter=request_id%3D%22key%201%22".to_owned(), vec!["10"]),
        (format!("filter=create_time%3E%3D{second}&pageSize=1"), vec!["30", "500", "20"]),
        (format!("filter=create_time%3C{second}"), vec!["10"]),
        (format!("filter=create_time%3D{second}"), vec!["20"]),
        ("filter=amount%3E10&userId=bob".to_owned(), vec![]),
    ] {
        let listed = list(&mesh, &query).await?;
        let listed: Vec<&str> = listed.iter().filter_map(|order| order["amount"].as_str()).collect();
        ensure!(listed == amounts, "{query}: {listed:?}");
    }
    refusals(&mesh).await?;
    mesh.at_rest().await
}

/// All pages of a list.
async fn list(mesh: &Mesh, query: &str) -> Result<Vec<Value>> {
    let (mut orders, mut token) = (Vec::new(), String::new());
    loop {
        let page = mesh.api.get(&format!("/gateway/orders?{query}&pageToken={token}")).await?;
        ensure!(page.status == 200, "{query}: {}", page.text);
        orders.extend(page.body["orders"].as_array().into_iter().flatten().cloned());
        match page.body["nextPageToken"].as_str() {
            Some(next) => next.clone_into(&mut token),
            None => return Ok(orders),
        }
    }
}

async fn refusals(mesh: &Mesh) -> Result<()> {
    for (query, reason) in [
        ("filter=colour%3Dred", "INVALID_FILTER"),
        ("filter=status%3DOPEN", "INVALID_FILTER"),
        ("filter=status%3ENEW", "INVALID_FILTER"),
        ("filter=amount%3Dmuch", "INVALID_FILTER"),
        ("filter=create_time%3E2026", "INVALID_FILTER"),
        ("filter=amount%3D1%20OR%20amount%3D2", "INVALID_FILTER"),
        ("orderBy=colour", "INVALID_ORDER_BY"),
        ("orderBy=amount%20upwards", "INVALID_ORDER_BY"),
    ] {
        let refused = mesh.api.get(&format!("/gateway/orders?{query}")).await?;
        ensure!(refused.status == 400 && refused.text.contains(reason), "{query}: {}", refused.text);
    }
    let page = mesh.api.get("/gateway/orders?orderBy=amount&pageSize=1").await?;
    let token = page.body["nextPageToken"].as_str().context("there is a next page")?;
    for other in
        ["", "orderBy=amount%20desc", "orderBy=amount&filter=amount%3E1", "orderBy=amount&userId=alice"]
    {
        let refused = mesh.api.get(&format!("/gateway/orders?{other}&pageToken={token}")).await?;
        ensure!(
            refused.status == 400 && refused.text.contains("INVALID_PAGE_TOKEN"),
            "{other}: {}",
            refused.text
        );
    }
    Ok(())
}
