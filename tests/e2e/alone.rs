//! Services one by one, each on a database of its own, with or without a broker between them.

use anyhow::{Context as _, Result};
use ordermesh::{
    orders::v1::{CreateOrderRequest, Order, orders_service_client::OrdersServiceClient},
    payments::v1::payments_service_client::PaymentsServiceClient,
};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, Statement};
use tonic::transport::Channel;
use world::{Process, Program};

pub(crate) type Orders = OrdersServiceClient<Channel>;
pub(crate) type Payments = PaymentsServiceClient<Channel>;

/// Where no broker is.
pub(crate) const NO_BROKER: &str = "amqp://guest:guest@127.0.0.1:1/%2f";

/// How to start a service.
pub(crate) fn program(service: &str, database_url: &str, amqp_url: &str) -> Result<Program> {
    Ok(Program::named(service)?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("DATABASE_URL", database_url)
        .env("AMQP_URL", amqp_url))
}

/// A client of orders, once it serves.
pub(crate) async fn orders(process: &mut Process) -> Result<Orders> {
    Ok(Orders::connect(format!("http://{}", process.address("orders-grpc").await?)).await?)
}

/// A client of payments, once it serves.
pub(crate) async fn payments(process: &mut Process) -> Result<Payments> {
    Ok(Payments::connect(format!("http://{}", process.address("payments-grpc").await?)).await?)
}

/// Places an order of one minor unit, and returns its id.
pub(crate) async fn place(client: &mut Orders, user: &str) -> Result<String> {
    let order = Order { user_id: user.to_owned(), amount: 1, ..Order::default() };
    let request = CreateOrderRequest { order: Some(order), ..CreateOrderRequest::default() };
    Ok(client.create_order(request).await?.into_inner().id)
}

/// One number out of a database.
pub(crate) async fn number(url: &str, sql: &str) -> Result<i64> {
    let database = Database::connect(url).await?;
    let row = database.query_one_raw(Statement::from_string(database.get_database_backend(), sql)).await?;
    let number = row.with_context(|| sql.to_owned())?.try_get_by_index(0)?;
    database.close().await?;
    Ok(number)
}

/// Runs statements on a database.
pub(crate) async fn run(url: &str, sql: &str) -> Result<()> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1);
    let database = Database::connect(options).await?;
    database.execute_unprepared(sql).await.with_context(|| sql.to_owned())?;
    Ok(database.close().await?)
}
