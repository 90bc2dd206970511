//! A third service beside the mesh: an order that is paid is shipped, once, however often that is delivered.

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use lapin::{Channel, message::Delivery, options::BasicPublishOptions};
use ordermesh::payments::v1::PaymentDecided;
use prost::Name as _;
use shipping::v1::{GetShipmentRequest, Shipment, shipping_service_client::ShippingServiceClient};
use tokio::time::timeout;
use tonic::{Code, Status, transport::Channel as Transport};
use world::{Api, PATIENCE, Scratch, eventually};

use crate::{
    alone::{self, number},
    mesh::{Arrangement, EMBEDDED, Mesh},
};

type Client = ShippingServiceClient<Transport>;

async fn shipment(client: &Client, order_id: &str) -> Result<Shipment, Status> {
    let request = GetShipmentRequest { order_id: order_id.to_owned() };
    client.clone().get_shipment(request).await.map(tonic::Response::into_inner)
}

async fn shipped(client: &Client, order_id: &str) -> Result<Shipment> {
    eventually("the shipment", PATIENCE, async || anyhow::Ok(shipment(client, order_id).await?)).await
}

/// Delivers a message a second time, with its id and all that it had; it is in its queues then.
async fn deliver_again(channel: &Channel, message: &Delivery) -> Result<()> {
    let (exchange, key) = (message.exchange.clone(), message.routing_key.clone());
    let options = BasicPublishOptions::default();
    let publish =
        channel.basic_publish(exchange, key, options, &message.data, message.properties.clone()).await?;
    ensure!(publish.await?.is_ack(), "not queued");
    Ok(())
}

#[tokio::test]
async fn an_order_that_is_paid_is_shipped_once() -> Result<()> {
    let mesh = Mesh::start(Arrangement { rabbitmq: true, ..EMBEDDED }).await?;
    let rabbitmq = mesh.rabbitmq.as_ref().context("the mesh has a broker")?;
    let amqp_url = rabbitmq.amqp_url();
    let scratch = Scratch::new("shipping")?;
    let url = format!("sqlite:{}", scratch.path().join("shipping.db").display());
    let mut process = alone::program("shipping", &url, &amqp_url)?.start()?;
    let client = Client::connect(format!("http://{}", process.address("shipping-grpc").await?)).await?;
    let operator = Api::new(format!("http://{}", process.address("admin").await?))?;
    eventually("its queue", PATIENCE, async || {
        let ready = operator.get("/readyz").await?;
        ensure!(ready.body["states"]["shipping.consumer.0"] == "ok", "{}", ready.text);
        anyhow::Ok(())
    })
    .await?;
    let decided = format!("{}.#", PaymentDecided::full_name());
    let mut decisions = rabbitmq.copies(ordermesh::EVENTS_EXCHANGE, &decided).await?;

    mesh.account("alice", 1_000).await?;
    let paid = mesh.order("alice", 300).await?;
    let order = mesh.ended(&paid).await?;
    ensure!(order["status"] == "FINISHED", "{order}");
    let first = shipped(&client, &paid).await?;
    ensure!(first.order_id == paid && first.user_id == "alice", "{first:?}");

    let refused = mesh.order("alice", 5_000).await?;
    ensure!(mesh.ended(&refused).await?["status"] == "CANCELLED");
    let decision = timeout(PATIENCE, decisions.consumer.next()).await?.context("the consumer ended")??;
    deliver_again(&decisions.channel, &decision).await?;
    // In the same partition, behind both.
    let last = mesh.order("alice", 1).await?;
    shipped(&client, &last).await?;
    ensure!(shipment(&client, &paid).await? == first, "a shipment has changed");
    ensure!(number(&url, "SELECT COUNT(*) FROM shipments").await? == 2, "an order was shipped twice");
    ensure!(number(&url, "SELECT COUNT(*) FROM parked").await? == 0, "a message was parked");
    let absent = shipment(&client, &refused).await.expect_err("it was not paid");
    ensure!(absent.code() == Code::NotFound, "{absent}");
    process.terminate()?;
    ensure!(process.wait(PATIENCE).await?.success(), "{}", process.output());
    mesh.at_rest().await
}
