//! Records the messages that this version writes, out of a mesh at work, into the folder of its version.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use futures_util::StreamExt as _;
use lapin::{Channel, Consumer, types::FieldTable};
use messaging::broker::{Broker as _, Inflow, rabbit::RabbitBroker};
use messaging::topology::Subscription;
use prost_reflect::DynamicMessage;
use reqwest::Method;
use serde_json::json;
use tokio::time::timeout;
use world::{Copies, Issuer, PATIENCE, Scratch, claims, eventually};

use super::{
    ON_RABBITMQ, VERSION, contracts,
    entry::{self, Entry},
    folder, kinds, topology,
};
use crate::mesh::Mesh;

const PLACED: &str = "ordermesh.orders.v1.OrderPlaced.0";
/// The last thing that happens: before it, an order may be asked about again, or not.
const LAST: &str = "ordermesh.payments.v1.PaymentDecided-VOIDED-PAYMENT_EXPIRED";
/// What only a mesh with an issuer writes.
const OF_SUBJECT: &str = "ordermesh.orders.v1.OrderPlaced-subject";

#[tokio::test]
#[ignore = "writes files: `just corpus` runs it"]
async fn record() -> Result<()> {
    let often = |name| (name, "200ms".to_owned());
    let env = [("ORDER_TTL", "3s".to_owned()), often("RECONCILE_EVERY"), often("RECONCILE_SETTLE")];
    let mesh = Mesh::start_with(ON_RABBITMQ, &env).await?;
    let mut taps = Taps::on(&mesh).await?;
    mesh.account("alice", 1_000).await?;
    decide(&mesh).await?;
    lose(&mesh).await?;
    void(&mesh, &taps.copies.channel).await?;
    let mut entries = BTreeMap::new();
    taps.note_until(LAST, &mut entries).await?;
    place_by_token(&mut entries).await?;
    keep(&folder().join(VERSION), &entries)
}

/// Writes messages into a folder, each by its name, and makes sure that it holds these and no others.
fn keep(folder: &Path, entries: &BTreeMap<String, Entry>) -> Result<()> {
    fs::create_dir_all(folder)?;
    for (name, entry) in entries {
        fs::write(folder.join(format!("{name}.json")), format!("{:#}\n", entry.to_json()))?;
    }
    let kept = of_version(folder)?;
    let others: Vec<_> = kept.keys().filter(|name| !entries.contains_key(*name)).collect();
    ensure!(others.is_empty(), "{} holds {others:?} too, which were not recorded", folder.display());
    ensure!(kept == *entries, "what was written to {} is read otherwise", folder.display());
    Ok(())
}

/// The messages in a folder by their names.
fn of_version(folder: &Path) -> Result<BTreeMap<String, Entry>> {
    Ok(Entry::of_version(folder)?.into_iter().map(|entry| (entry.name(), entry)).collect())
}

/// What `just corpus` does at its end, with the messages that are there.
#[test]
fn what_is_recorded_is_read_back() -> Result<()> {
    let (scratch, recorded) = (Scratch::new("corpus")?, of_version(&folder().join(VERSION))?);
    ensure!(recorded.len() > 1, "hardly any messages: {recorded:?}");
    let kept = scratch.path().join("kept");
    keep(&kept, &recorded)?;
    keep(&kept, &recorded)?;
    let fewer: BTreeMap<String, Entry> = recorded.into_iter().skip(1).collect();
    let error = keep(&kept, &fewer).err().context("it holds one more")?;
    ensure!(error.to_string().contains("were not recorded"), "{error:#}");
    Ok(())
}

/// Two copies of everything that a mesh publishes: as it came, and as it is read.
struct Taps {
    copies: Copies,
    _broker: RabbitBroker,
    reader: Box<dyn Inflow>,
}

impl Taps {
    async fn on(mesh: &Mesh) -> Result<Self> {
        let rabbitmq = mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?;
        let broker = RabbitBroker::new(&rabbitmq.amqp_url(), topology())?;
        let kinds = kinds()?.into_iter().collect();
        let everything = Subscription { consumer: "reader".to_owned(), kinds };
        let reader = broker.subscribe(&everything, 0, 100).await?;
        let copies = rabbitmq.copies(&topology().exchange, "#").await?;
        Ok(Self { copies, _broker: broker, reader })
    }

    /// Notes the first message of each name, until there is one of this name.
    async fn note_until(&mut self, last: &str, entries: &mut BTreeMap<String, Entry>) -> Result<()> {
        while !entries.contains_key(last) {
            let entry = next(&mut self.copies.consumer, self.reader.as_mut()).await?;
            entries.entry(entry.name()).or_insert(entry);
        }
        Ok(())
    }
}

/// An order of somebody who came with a token of an issuer.
async fn place_by_token(entries: &mut BTreeMap<String, Entry>) -> Result<()> {
    let issuer = Issuer::start().await?;
    let mesh = Mesh::start_with(ON_RABBITMQ, &issuer.env()).await?;
    let mut taps = Taps::on(&mesh).await?;
    let mut claims = claims("alice", "orders:write", 3_600);
    claims["jti"] = json!("t-1");
    let alice = mesh.api.with_token(&issuer.token("first", &claims).await?);
    let placed = alice.post("/gateway/orders", &json!({ "amount": 1 })).await?;
    ensure!(placed.status == 200, "{}", placed.text);
    taps.note_until(OF_SUBJECT, entries).await
}

/// Orders that are paid, with a whole trace context too, and rejected for every reason there is.
async fn decide(mesh: &Mesh) -> Result<()> {
    for (user, amount, currency, tracestate) in [
        ("alice", 300, "", None),
        ("alice", 701, "", None),
        ("bob", 1, "", None),
        ("alice", 1, "USD", None),
        ("alice", 2, "", Some("vendor=one,other=two")),
    ] {
        let order = json!({ "userId": user, "amount": amount, "currencyCode": currency, "description": "for the corpus" });
        let request = mesh.api.request(Method::POST, "/gateway/orders");
        let request =
            request.header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        let request =
            tracestate.into_iter().fold(request, |request, state| request.header("tracestate", state));
        let placed = world::answer(request.json(&order)).await?;
        mesh.ended(placed.body["id"].as_str().with_context(|| placed.text.clone())?).await?;
    }
    Ok(())
}

/// A decision that payments has lost, and that orders asks for.
async fn lose(mesh: &Mesh) -> Result<()> {
    mesh.lift_append_only("payments").await?;
    mesh.tamper("payments", "DELETE FROM payments WHERE user_id = 'bob'").await?;
    eventually("the decision to be restored", PATIENCE, async || {
        ensure!(mesh.count("payments", "SELECT COUNT(*) FROM payments WHERE user_id = 'bob'").await? == 1);
        Ok(())
    })
    .await
}

/// Orders whose payment nobody is asked for: one is cancelled, the other expires.
async fn void(mesh: &Mesh, channel: &Channel) -> Result<()> {
    let (queue, exchange) = (topology().queue("payments", 0), topology().exchange);
    channel.queue_unbind(queue.into(), exchange.into(), PLACED.into(), FieldTable::default()).await?;
    let (cancelled, expired) = (mesh.order("alice", 5).await?, mesh.order("alice", 6).await?);
    let asked = mesh.api.post(&format!("/gateway/orders/{cancelled}:cancel"), &json!({})).await?;
    ensure!(asked.status == 200, "{}", asked.text);
    for (id, reason) in [(cancelled, "USER_REQUESTED"), (expired, "PAYMENT_EXPIRED")] {
        let order = mesh.ended(&id).await?;
        ensure!(order["cancelReason"] == reason, "{order}");
    }
    Ok(())
}

/// The next message, as it came and as it is read.
async fn next(spy: &mut Consumer, reader: &mut dyn Inflow) -> Result<Entry> {
    let raw = timeout(PATIENCE, spy.next()).await?.context("the spy is cut off")??;
    let mut read = timeout(PATIENCE, reader.receive(1)).await??;
    let message = read.pop().context("nothing received")?.message;
    let message = message.map_err(|junk| anyhow::anyhow!("{junk:?}"))?;
    let kind = contracts()?.get_message_by_name(&message.kind).context("an undeclared kind")?;
    let meaning = serde_json::to_value(DynamicMessage::decode(kind, message.payload.clone())?)?;
    ensure!(raw.data == message.payload, "the two copies come in different orders");
    Entry::new(raw.routing_key.as_str(), &raw.properties, &raw.data, entry::Envelope::from(&message), meaning)
}
