//! The messages of every released version, as they were on the wire (`tests/corpus`): today's code understands them, for they
//! may still lie in a queue, an outbox or among the parked ones.

mod entry;
mod record;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use lapin::{
    Confirmation, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use messaging::{
    broker::{Broker as _, Inflow, rabbit::RabbitBroker},
    topology::{Subscription, Topology},
};
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::Value;
use tokio::time::timeout;
use world::{PATIENCE, eventually};

use self::entry::Entry;
use crate::mesh::{Arrangement, EMBEDDED, Mesh};

/// The version whose messages are being written now.
const VERSION: &str = env!("CARGO_PKG_VERSION");

const ON_RABBITMQ: Arrangement = Arrangement { rabbitmq: true, ..EMBEDDED };

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn contracts() -> Result<DescriptorPool> {
    Ok(DescriptorPool::decode(ordermesh::DESCRIPTOR_SET)?)
}

/// The full names of all messages that services tell each other: each package declares its own in a file of that name.
pub(crate) fn kinds() -> Result<BTreeSet<String>> {
    let contracts = contracts()?;
    let events = contracts.files().filter(|file| file.name().ends_with("/events.proto"));
    let kinds =
        events.flat_map(|file| file.messages().map(|kind| kind.full_name().to_owned()).collect::<Vec<_>>());
    Ok(kinds.collect())
}

fn topology() -> Topology {
    Topology::new(ordermesh::EVENTS_EXCHANGE, 1, [])
}

#[test]
fn every_kind_of_this_version_is_in_the_corpus() -> Result<()> {
    let entries = Entry::of_version(&folder().join(VERSION))?;
    let kept: BTreeSet<String> = entries.into_iter().map(|entry| entry.envelope.kind).collect();
    let declared = kinds()?;
    let absent: Vec<_> = declared.difference(&kept).collect();
    ensure!(
        absent.is_empty(),
        "tests/corpus/{VERSION} has no {absent:?}: `just corpus` makes it, its README says when"
    );
    Ok(())
}

#[tokio::test]
async fn the_messages_of_every_version_are_understood() -> Result<()> {
    let mesh = Mesh::start(ON_RABBITMQ).await?;
    mesh.account("alice", 1_000_000).await?;
    // Its queues are bound once an order has ended: what is published before passes it by.
    mesh.ended(&mesh.order("bob", 1).await?).await?;
    let amqp_url = mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?.amqp_url();
    let broker = RabbitBroker::new(&amqp_url, topology())?;
    let everything = Subscription { consumer: "corpus".to_owned(), kinds: kinds()?.into_iter().collect() };
    let mut inflow = broker.subscribe(&everything, 0, 10).await?;
    let mut versions = 0;
    for version in std::fs::read_dir(folder())?.flatten().filter(|entry| entry.path().is_dir()) {
        versions += 1;
        for entry in Entry::of_version(&version.path())? {
            let what = format!("{} {}", version.file_name().display(), entry.name());
            publish(&amqp_url, &entry).await?;
            is_read(inflow.as_mut(), &entry).await.with_context(|| what.clone())?;
            is_acted_upon(&mesh, &entry).await.with_context(|| what)?;
        }
    }
    ensure!(versions > 0, "an empty corpus");
    // Only a decision about an order that this mesh never had is parked; everything else was understood.
    for service in ["orders", "payments"] {
        let odd = "SELECT COUNT(*) FROM parked WHERE error NOT LIKE 'there is no order %'";
        ensure!(mesh.count(service, odd).await? == 0, "{service} has parked something else");
    }
    Ok(())
}

/// Sends the bytes of a message as they were.
async fn publish(amqp_url: &str, entry: &Entry) -> Result<()> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let payload = entry.payload()?;
    let sent = channel.basic_publish(
        topology().exchange.as_str().into(),
        entry.routing_key.as_str().into(),
        BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() },
        &payload,
        entry.properties()?,
    );
    ensure!(sent.await?.await? == Confirmation::Ack(None), "no queue is bound for it");
    Ok(connection.close(200, "sent".into()).await?)
}

/// Envelope and payload mean what they meant when they were written.
async fn is_read(inflow: &mut dyn Inflow, entry: &Entry) -> Result<()> {
    // The mesh's own messages come this way, too.
    let message = loop {
        let mut received = timeout(PATIENCE, inflow.receive(1)).await??;
        let delivery = received.pop().context("nothing received")?;
        inflow.ack_through(delivery.tag).await?;
        let message = delivery.message.map_err(|junk| anyhow::anyhow!("{junk:?}"))?;
        if message.id.to_string() == entry.envelope.id {
            break message;
        }
    };
    ensure!(entry::Envelope::from(&message) == entry.envelope, "{message:?}");
    let kind = contracts()?.get_message_by_name(&message.kind).context("the kind is gone")?;
    let meaning = serde_json::to_value(DynamicMessage::decode(kind, message.payload)?)?;
    ensure!(meaning == entry.meaning, "{meaning} is not {}", entry.meaning);
    Ok(())
}

/// The service that hears it does what it asks for.
async fn is_acted_upon(mesh: &Mesh, entry: &Entry) -> Result<()> {
    let text =
        |value: &Value| value.as_str().map(str::to_owned).with_context(|| format!("{value} is no text"));
    if entry.envelope.kind.ends_with(".PaymentDecided") {
        let order = text(&entry.meaning["payment"]["orderId"])?;
        let sql = format!("SELECT COUNT(*) FROM parked WHERE error = 'there is no order {order}'");
        return eventually("orders to have read the decision", PATIENCE, async || {
            ensure!(mesh.count("orders", &sql).await? > 0, "it is not there");
            Ok(())
        })
        .await;
    }
    let order = text(&entry.meaning["orderId"])?;
    let payment = eventually("the decision of payments", PATIENCE, async || {
        let payment = mesh.api.get(&format!("/gateway/orders/{order}/payment")).await?;
        ensure!(payment.status == 200, "{}", payment.text);
        Ok(payment.body)
    })
    .await?;
    for field in ["orderId", "userId", "amount", "currencyCode"] {
        ensure!(payment[field] == entry.meaning[field], "{payment} is not about {}", entry.meaning);
    }
    let reason = &entry.meaning["reason"];
    let restored = &entry.meaning["outcome"];
    let outcome = if restored.is_null() { "VOIDED" } else { restored.as_str().unwrap_or_default() };
    ensure!(reason.is_null() || (payment["outcome"] == outcome && payment["reason"] == *reason), "{payment}");
    Ok(())
}
