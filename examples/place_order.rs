//! A service that talks to ordermesh: opens an account, tops it up, places an order and watches it to its end.
//!
//! `cargo run -p ordermesh --example place_order --features client -- http://127.0.0.1:5001 http://127.0.0.1:5002`

use std::error::Error;

use ordermesh::{
    orders::v1::{
        CreateOrderRequest, Order, WatchOrderRequest, order::Status,
        orders_service_client::OrdersServiceClient,
    },
    payments::v1::{
        Account, CreateAccountRequest, TopUpAccountRequest, payments_service_client::PaymentsServiceClient,
    },
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut urls = std::env::args().skip(1);
    let orders = urls.next().unwrap_or_else(|| "http://127.0.0.1:5001".to_owned());
    let payments = urls.next().unwrap_or_else(|| "http://127.0.0.1:5002".to_owned());
    let mut orders = OrdersServiceClient::connect(orders).await?;
    let mut payments = PaymentsServiceClient::connect(payments).await?;

    // Each write has a key, so that all of this can be run again: the second run changes nothing.
    let account = Account { user_id: "example".into(), ..Account::default() };
    let request = CreateAccountRequest { account: Some(account), request_id: "example-account".into() };
    payments.create_account(request).await?;
    let request = TopUpAccountRequest {
        user_id: "example".into(),
        amount: 1_000,
        request_id: "example-top-up".into(),
        ..TopUpAccountRequest::default()
    };
    payments.top_up_account(request).await?;
    let order =
        Order { user_id: "example".into(), amount: 300, description: "tea".into(), ..Order::default() };
    let request = CreateOrderRequest { order: Some(order), request_id: "example-order".into() };
    let placed = orders.create_order(request).await?.into_inner();

    // The stream ends with the version that ends the order.
    let request = WatchOrderRequest { order_id: placed.id, after_version: 0 };
    let mut events = orders.watch_order(request).await?.into_inner();
    let mut last = Order::default();
    while let Some(event) = events.message().await? {
        last = event.order.unwrap_or_default();
        eprintln!("version {}: {}", last.version, last.status().as_str_name());
    }
    if last.status() == Status::Finished { Ok(()) } else { Err("the order was not paid".into()) }
}
