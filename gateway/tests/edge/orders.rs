//! The six routes that users know, end to end.

use http::StatusCode;
use ordermesh::{
    orders::v1::{
        CreateOrderRequest, GetOrderRequest, ListOrdersRequest, ListOrdersResponse, Order, order::Status,
    },
    payments::v1::{
        Account, CreateAccountRequest, GetAccountRequest, LedgerEntry, TopUpAccountRequest,
        TopUpAccountResponse,
    },
};
use prost::Message;
use serde_json::{Value, json};

use crate::{
    upstream::{Call, Reply, Upstream, one},
    world::{World, json},
};

fn read<M: Message + Default>(call: &Call) -> M {
    M::decode(call.wire.clone()).expect("the contract's message")
}

/// Answers with what it was asked, so that a test sees both directions.
async fn service(call: Call) -> Reply {
    match call.path.rsplit('/').next().unwrap_or_default() {
        "CreateOrder" => {
            let order = read::<CreateOrderRequest>(&call).order.unwrap_or_default();
            one(&Order { id: "7".into(), version: 1, status: Status::New.into(), ..order })
        }
        "GetOrder" => one(&Order { id: read::<GetOrderRequest>(&call).order_id, ..Order::default() }),
        "ListOrders" => {
            let ListOrdersRequest { page_size, page_token, user_id, status, .. } = read(&call);
            let order = Order { amount: page_size.into(), user_id, status, ..Order::default() };
            one(&ListOrdersResponse { orders: vec![order], next_page_token: page_token })
        }
        "CreateAccount" => {
            let account = read::<CreateAccountRequest>(&call).account.unwrap_or_default();
            one(&Account { balance: Some(0), version: Some(0), ..account })
        }
        "TopUpAccount" => {
            let TopUpAccountRequest { user_id, amount, .. } = read(&call);
            let entry = LedgerEntry { amount, sequence: 1, ..LedgerEntry::default() };
            one(&TopUpAccountResponse {
                account: Some(Account { user_id, balance: Some(amount), ..Account::default() }),
                entry: Some(entry),
            })
        }
        "GetAccount" => {
            one(&Account { user_id: read::<GetAccountRequest>(&call).user_id, ..Account::default() })
        }
        other => Err(tonic::Status::unimplemented(other)),
    }
}

async fn answers(method: &str, path: &str, body: &str, rpc: &str, expected: &Value) {
    let upstream = Upstream::start(service).await;
    let world = World::of(&upstream).await;
    let response = world.send(method, path, body).await;
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(&json(response, StatusCode::OK).await, expected);
    assert_eq!(upstream.call().path, rpc);
}

#[tokio::test]
async fn an_order_is_placed() {
    answers(
        "POST",
        "/gateway/orders",
        r#"{"userId": "alice", "amount": 1250, "currencyCode": "RUB", "description": "ключи"}"#,
        "/ordermesh.orders.v1.OrdersService/CreateOrder",
        &json!({
            "id": "7", "userId": "alice", "amount": "1250", "currencyCode": "RUB", "description": "ключи",
            "status": "NEW", "version": "1",
        }),
    )
    .await;
}

#[tokio::test]
async fn an_order_is_read() {
    let rpc = "/ordermesh.orders.v1.OrdersService/GetOrder";
    answers("GET", "/gateway/orders/a%2Fb", "", rpc, &json!({"id": "a/b"})).await;
}

#[tokio::test]
async fn orders_are_listed() {
    answers(
        "GET",
        "/gateway/orders?page_size=5&pageToken=t%2B&userId=alice&status=FINISHED",
        "",
        "/ordermesh.orders.v1.OrdersService/ListOrders",
        &json!({"orders": [{"amount": "5", "userId": "alice", "status": "FINISHED"}], "nextPageToken": "t+"}),
    )
    .await;
}

#[tokio::test]
async fn an_account_is_opened() {
    answers(
        "POST",
        "/gateway/payments",
        r#"{"user_id": "alice"}"#,
        "/ordermesh.payments.v1.PaymentsService/CreateAccount",
        &json!({"userId": "alice", "balance": "0", "version": "0"}),
    )
    .await;
}

#[tokio::test]
async fn an_account_is_topped_up() {
    answers(
        "POST",
        "/gateway/payments/alice/top-up",
        r#"{"amount": "9007199254740991"}"#,
        "/ordermesh.payments.v1.PaymentsService/TopUpAccount",
        &json!({
            "account": {"userId": "alice", "balance": "9007199254740991"},
            "entry": {"amount": "9007199254740991", "sequence": "1"},
        }),
    )
    .await;
}

#[tokio::test]
async fn an_account_is_read() {
    let rpc = "/ordermesh.payments.v1.PaymentsService/GetAccount";
    answers("GET", "/gateway/payments/alice", "", rpc, &json!({"userId": "alice"})).await;
}
