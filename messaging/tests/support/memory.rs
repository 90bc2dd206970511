//! What only the in-process broker can be asked: it confirms what was acknowledged, and keeps nothing else.

use std::time::Duration;

use anyhow::Result;
use futures_util::poll;
use messaging::{
    broker::{Broker, Outcome, memory::MemoryBroker},
    topology::{Subscription, Topology},
};
use tokio::{join, pin};

use super::given::{KIND, confirmed, consumer, mesh, messages, numbers, quiet, receive, take};

/// Stands for the time after which a publisher gives up.
const SOON: Duration = Duration::from_millis(50);

fn with_queues(consumers: Vec<Subscription>) -> Topology {
    Topology { consumers, ..mesh("mesh", 1) }
}

pub(crate) async fn the_queues_of_known_subscriptions_exist_from_the_start() -> Result<()> {
    let known = Subscription { consumer: "reader".into(), kinds: vec![KIND.into()] };
    let broker = MemoryBroker::new(with_queues(vec![known.clone()]));
    let mut publisher = broker.publisher().await?;
    let sent = messages(3);
    let publishing = publisher.publish(&sent);
    pin!(publishing);
    assert!(poll!(&mut publishing).is_pending());
    let mut inflow = broker.subscribe(&known, 0, 10).await?;
    assert_eq!(take(&mut *inflow, 3).await?, sent);
    confirmed(&publishing.await)
}

pub(crate) async fn a_message_is_confirmed_when_the_last_consumer_has_acknowledged_it() -> Result<()> {
    let broker = MemoryBroker::new(with_queues(Vec::new()));
    let mut first = broker.subscribe(&consumer("first"), 0, 10).await?;
    let mut second = broker.subscribe(&consumer("second"), 0, 10).await?;
    let mut publisher = broker.publisher().await?;
    let sent = messages(2);
    let publishing = publisher.publish(&sent);
    pin!(publishing);
    assert!(poll!(&mut publishing).is_pending());
    take(&mut *first, 2).await?;
    let received = receive(&mut *second, 2).await?;
    second.ack_through(received[0].tag).await?;
    assert!(poll!(&mut publishing).is_pending());
    second.ack_through(received[1].tag).await?;
    confirmed(&publishing.await)
}

pub(crate) async fn what_nobody_acknowledges_in_time_is_unknown_and_withdrawn() -> Result<()> {
    let broker = MemoryBroker::new(with_queues(vec![consumer("reader")])).with_confirm_timeout(SOON);
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 3).await?;
    let sent = messages(5);
    let mut publisher = broker.publisher().await?;
    let receiving = async {
        let received = receive(&mut *inflow, 3).await?;
        inflow.ack_through(received[0].tag).await?;
        anyhow::Ok(received)
    };
    let (outcomes, received) = join!(publisher.publish(&sent), receiving);
    let received = received?;
    assert_eq!(outcomes[0], Outcome::Confirmed);
    assert!(outcomes[1..].iter().all(|outcome| matches!(outcome, Outcome::Unknown(_))), "{outcomes:?}");

    // Two were out and may have been handled, two were never seen: only the latter are gone.
    inflow.ack_through(received[2].tag).await?;
    quiet(&mut *inflow).await?;
    let mut publisher = broker.publisher().await?;
    let (outcomes, again) = join!(publisher.publish(&sent[1..]), take(&mut *inflow, 4));
    confirmed(&outcomes)?;
    assert_eq!(numbers(&again?), [1, 2, 3, 4]);
    quiet(&mut *inflow).await
}

pub(crate) async fn a_dropped_publish_is_withdrawn() -> Result<()> {
    let broker = MemoryBroker::new(with_queues(vec![consumer("reader")]));
    let mut publisher = broker.publisher().await?;
    {
        let sent = messages(5);
        let publishing = publisher.publish(&sent);
        pin!(publishing);
        assert!(poll!(&mut publishing).is_pending());
    }
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    quiet(&mut *inflow).await
}

pub(crate) async fn an_abandoned_copy_does_not_return_to_the_queue() -> Result<()> {
    let broker = MemoryBroker::new(with_queues(vec![consumer("reader")])).with_confirm_timeout(SOON);
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let mut publisher = broker.publisher().await?;
    let sent = messages(5);
    let (outcomes, received) = join!(publisher.publish(&sent), receive(&mut *inflow, 5));
    assert_eq!(received?.len(), 5);
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Unknown(_))), "{outcomes:?}");
    drop(inflow);
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    quiet(&mut *inflow).await
}

pub(crate) async fn a_held_queue_gives_back_what_comes_and_keeps_its_order() -> Result<()> {
    let broker = MemoryBroker::new(Topology { consumers: vec![consumer("reader")], ..mesh("held", 1) });
    let mut publisher = broker.publisher().await?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let window = messages(3);
    let sent = window.clone();
    let publishing = tokio::spawn(async move { (publisher.publish(&sent).await, publisher) });
    let received = inflow.receive(2).await?;
    inflow.ack(&[received[0].tag]).await?;
    let held = broker.hold(&consumer("reader"), 0);
    // What was delivered and not acknowledged goes back as well.
    drop(inflow);
    let (outcomes, mut publisher) = publishing.await?;
    assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Postponed, Outcome::Postponed]);
    assert_eq!(publisher.publish(&window[1..]).await, [Outcome::Postponed, Outcome::Postponed]);
    // There may have been another hold before this publisher.
    publisher.resumed().await;
    {
        let resumed = publisher.resumed();
        pin!(resumed);
        assert!(poll!(&mut resumed).is_pending());
        drop(held);
        resumed.await;
    }
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let (outcomes, received) = tokio::join!(publisher.publish(&window[1..]), take(&mut *inflow, 2));
    assert_eq!(outcomes, [Outcome::Confirmed, Outcome::Confirmed]);
    assert_eq!(received?, window[1..]);
    Ok(())
}
