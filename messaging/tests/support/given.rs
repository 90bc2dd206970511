//! Messages to send and what to do with those that arrive.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use bytes::Bytes;
use messaging::{
    broker::{Delivery, Inflow, Outcome},
    envelope::Envelope,
    topology::{Subscription, Topology},
};
use tokio::time::timeout;
use uuid::Uuid;
use world::PATIENCE;

/// Long enough for a message that should not come to come.
const QUIET: Duration = Duration::from_millis(300);

/// The kind that [`consumer`] subscribes to.
pub(crate) const KIND: &str = "test.v1.Happened";

pub(crate) fn mesh(exchange: &str, partitions: u16) -> Topology {
    Topology::new(exchange, partitions, [])
}

pub(crate) fn consumer(name: &str) -> Subscription {
    Subscription { consumer: name.into(), kinds: vec![KIND.into()] }
}

/// The message with a number, which is also its body.
pub(crate) fn message(number: u32) -> Envelope {
    Envelope {
        id: Uuid::from_u128(u128::from(number) + 1),
        kind: KIND.into(),
        key: "alice".into(),
        source: "/test".into(),
        payload: Bytes::copy_from_slice(&number.to_be_bytes()),
        traceparent: None,
        tracestate: None,
        subject: None,
        token_id: None,
        create_time: 1_700_000_000_000_000 + i64::from(number),
    }
}

pub(crate) fn messages(count: u32) -> Vec<Envelope> {
    (0..count).map(message).collect()
}

pub(crate) fn confirmed(outcomes: &[Outcome]) -> Result<()> {
    let other = outcomes.iter().find(|outcome| **outcome != Outcome::Confirmed);
    other.map_or(Ok(()), |other| Err(anyhow!("not confirmed: {other:?}")))
}

/// Receives until `count` messages are there and leaves them unacknowledged.
pub(crate) async fn receive(inflow: &mut dyn Inflow, count: usize) -> Result<Vec<Delivery>> {
    let mut received = Vec::new();
    while received.len() < count {
        received.extend(timeout(PATIENCE, inflow.receive(count - received.len())).await??);
    }
    Ok(received)
}

/// Receives `count` messages and acknowledges them batch by batch.
pub(crate) async fn take(inflow: &mut dyn Inflow, count: usize) -> Result<Vec<Envelope>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let batch = timeout(PATIENCE, inflow.receive(count - taken.len())).await??;
        let last = batch.last().map(|delivery| delivery.tag);
        taken.extend(envelopes(batch)?);
        inflow.ack_through(last.ok_or_else(|| anyhow!("an empty batch"))?).await?;
    }
    Ok(taken)
}

/// Nothing comes any more. There is no state to wait for, only time can show it.
pub(crate) async fn quiet(inflow: &mut dyn Inflow) -> Result<()> {
    let received = timeout(QUIET, inflow.receive(1)).await;
    ensure!(received.is_err(), "{received:?} has come");
    Ok(())
}

pub(crate) fn envelopes(deliveries: Vec<Delivery>) -> Result<Vec<Envelope>> {
    deliveries.into_iter().map(|delivery| delivery.message.map_err(|wrong| anyhow!("{wrong:?}"))).collect()
}

/// The numbers of messages, to compare orders by.
pub(crate) fn numbers(envelopes: &[Envelope]) -> Vec<u128> {
    envelopes.iter().map(|envelope| envelope.id.as_u128() - 1).collect()
}
