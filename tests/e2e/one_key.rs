//! A hundred calls at once with one key, half over HTTP and half over gRPC: one effect, and equal answers (I9).

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use futures_util::future::try_join_all;
use ordermesh::{
    orders::v1::{CreateOrderRequest, Order, orders_service_client::OrdersServiceClient},
    payments::v1::{
        Account, CreateAccountRequest, TopUpAccountRequest, payments_service_client::PaymentsServiceClient,
    },
};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use tonic::{Request, Response, Status, transport::Channel};

use crate::mesh::{APART, Arrangement, EMBEDDED, Mesh};

const CALLS: usize = 100;

#[tokio::test]
async fn sqlite_in_one_process() -> Result<()> {
    one_effect(EMBEDDED).await
}

#[tokio::test]
async fn postgres_and_rabbitmq() -> Result<()> {
    one_effect(Arrangement { apart: false, ..APART }).await
}

async fn one_effect(arrangement: Arrangement) -> Result<()> {
    let mesh = Mesh::start(arrangement).await?;
    let orders = OrdersServiceClient::connect(format!("http://{}", mesh.orders)).await?;
    let payments = PaymentsServiceClient::connect(format!("http://{}", mesh.payments)).await?;

    let account = Account { user_id: "alice".into(), currency_code: "EUR".into(), ..Account::default() };
    let request = CreateAccountRequest { account: Some(account), request_id: "one".into() };
    let body = json!({ "userId": "alice", "currencyCode": "EUR" });
    let call = |client: &PaymentsServiceClient<Channel>| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.create_account(Request::new(request)).await }
    };
    equal_answers(&mesh, "/gateway/payments", &body, || call(&payments)).await?;

    let request = TopUpAccountRequest {
        user_id: "alice".into(),
        amount: 700,
        currency_code: "EUR".into(),
        request_id: "one".into(),
        ..TopUpAccountRequest::default()
    };
    let body = json!({ "amount": "700", "currencyCode": "EUR" });
    let call = |client: &PaymentsServiceClient<Channel>| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.top_up_account(Request::new(request)).await }
    };
    equal_answers(&mesh, "/gateway/payments/alice/top-up", &body, || call(&payments)).await?;
    ensure!(mesh.balance("alice").await? == 700, "topped up more than once");

    let order =
        Order { user_id: "alice".into(), amount: 50, currency_code: "EUR".into(), ..Order::default() };
    let request = CreateOrderRequest { order: Some(order), request_id: "one".into() };
    let body = json!({ "userId": "alice", "amount": 50, "currencyCode": "EUR" });
    let call = |client: &OrdersServiceClient<Channel>| {
        let (mut client, request) = (client.clone(), request.clone());
        async move { client.create_order(Request::new(request)).await }
    };
    let answer = equal_answers(&mesh, "/gateway/orders", &body, || call(&orders)).await?;
    ensure!(mesh.ended(answer["id"].as_str().context("an order has an id")?).await?["status"] == "FINISHED");
    ensure!(mesh.count("orders", "SELECT COUNT(*) FROM orders").await? == 1);
    ensure!(mesh.balance("alice").await? == 650, "paid more than once");
    mesh.at_rest().await?;
    mesh.has_logged_no_error()
}

/// Calls a hundred times at once; every answer is the same JSON, and all but one say that they are a repetition.
async fn equal_answers<M, F>(mesh: &Mesh, path: &str, body: &Value, call: impl Fn() -> F) -> Result<Value>
where
    M: Message + Name,
    F: Future<Output = Result<Response<M>, Status>>,
{
    let http = try_join_all((0..CALLS / 2).map(|_| async {
        let answer = mesh.api.post_with_key(path, "one", body).await?;
        ensure!(answer.status == 200, "{}", answer.text);
        Ok((answer.body.clone(), answer.header("idempotency-replayed").is_some()))
    }));
    let grpc = try_join_all((0..CALLS / 2).map(|_| async {
        let answer = call().await?;
        let replayed = answer.metadata().contains_key("idempotency-replayed");
        anyhow::Ok((proto_json(&answer.into_inner())?, replayed))
    }));
    let (http, grpc) = tokio::try_join!(http, grpc)?;
    let answers: Vec<(Value, bool)> = http.into_iter().chain(grpc).collect();
    let first = answers.iter().filter(|(_, replayed)| !replayed).count();
    ensure!(first == 1, "{first} calls say that they were the first");
    let texts: BTreeSet<String> = answers.iter().map(|(answer, _)| answer.to_string()).collect();
    ensure!(texts.len() == 1, "answers differ: {texts:?}");
    Ok(answers[0].0.clone())
}

fn proto_json<M: Message + Name>(message: &M) -> Result<Value> {
    let pool = DescriptorPool::decode(ordermesh::DESCRIPTOR_SET)?;
    let descriptor = pool.get_message_by_name(&M::full_name()).context("a message of the contracts")?;
    Ok(serde_json::to_value(DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())?)?)
}
