//! The promises of every broker.

use anyhow::{Result, ensure};
use bytes::Bytes;
use messaging::{
    broker::{Inflow, Outcome},
    envelope::Envelope,
    topology::Subscription,
};
use tokio::{join, time::timeout};
use uuid::Uuid;

use super::{
    given::{KIND, confirmed, consumer, envelopes, mesh, message, messages, numbers, quiet, receive, take},
    ground::Ground,
};

const PREFETCH: u16 = 100;

pub(crate) async fn an_envelope_arrives_as_it_was_sent(ground: &Ground) -> Result<()> {
    let broker = ground.broker(&mesh("envelopes", 1))?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, PREFETCH).await?;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let sent = [
        message(1),
        Envelope {
            traceparent: Some(trace.into()),
            tracestate: Some("vendor=one,other=two".into()),
            ..message(2)
        },
        Envelope { payload: Bytes::new(), ..message(3) },
        Envelope {
            payload: (0..1_048_576_u32).map(|i| i.to_le_bytes()[i as usize % 3]).collect(),
            ..message(4)
        },
        Envelope { key: "Алиса 🦀 \u{0}\n%2f".into(), source: "/tëst".into(), ..message(5) },
        Envelope { id: Uuid::max(), key: String::new(), create_time: 0, ..message(6) },
        Envelope { create_time: -1, ..message(7) },
        message(9).on_behalf_of(Some(&"é".repeat(127)), Some("a \"token\" ü")),
        message(10).on_behalf_of(Some("alice"), None),
        Envelope { create_time: 253_402_300_799_999_999, ..message(8) },
    ];
    let mut publisher = broker.publisher().await?;
    let (outcomes, received) = join!(publisher.publish(&sent), take(&mut *inflow, sent.len()));
    confirmed(&outcomes)?;
    ensure!(received? == sent, "something was changed on the way");
    Ok(())
}

pub(crate) async fn the_order_of_a_key_is_kept(ground: &Ground) -> Result<()> {
    let broker = ground.broker(&mesh("order", 1))?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, PREFETCH).await?;
    let mut publisher = broker.publisher().await?;
    let sent = messages(1_000);
    let publishing = async {
        for window in sent.chunks(250) {
            confirmed(&publisher.publish(window).await)?;
        }
        anyhow::Ok(())
    };
    let (published, received) = join!(publishing, take(&mut *inflow, sent.len()));
    published?;
    assert_eq!(numbers(&received?), numbers(&sent));
    Ok(())
}

pub(crate) async fn a_message_without_a_queue_is_unroutable_until_there_is_one(
    ground: &Ground,
) -> Result<()> {
    let broker = ground.broker(&mesh("unroutable", 1))?;
    let mut publisher = broker.publisher().await?;
    let unheard = |number| Envelope { kind: "test.v1.Unheard".into(), ..message(number) };
    assert_eq!(publisher.publish(&messages(1)).await, [Outcome::Unroutable]);

    let mut inflow = broker.subscribe(&consumer("reader"), 0, PREFETCH).await?;
    let mixed: Vec<Envelope> = (0..100).map(|i| if i % 3 == 0 { unheard(i) } else { message(i) }).collect();
    let subscribed = mixed.iter().filter(|envelope| envelope.kind == KIND).count();
    let (outcomes, received) = join!(publisher.publish(&mixed), take(&mut *inflow, subscribed));
    for (outcome, envelope) in outcomes.iter().zip(&mixed) {
        let expected = if envelope.kind == KIND { Outcome::Confirmed } else { Outcome::Unroutable };
        assert_eq!(*outcome, expected, "{}", envelope.id);
    }
    assert_eq!(outcomes.len(), mixed.len());
    assert!(received?.iter().all(|envelope| envelope.kind == KIND));

    let both = Subscription { kinds: vec![KIND.into(), "test.v1.Unheard".into()], ..consumer("reader") };
    drop(inflow);
    let mut inflow = broker.subscribe(&both, 0, PREFETCH).await?;
    let (outcomes, received) = join!(publisher.publish(&mixed), take(&mut *inflow, mixed.len()));
    confirmed(&outcomes)?;
    assert_eq!(received?, mixed);
    Ok(())
}

pub(crate) async fn every_consumer_gets_its_copy(ground: &Ground) -> Result<()> {
    let broker = ground.broker(&mesh("copies", 1))?;
    let mut orders = broker.subscribe(&consumer("orders"), 0, PREFETCH).await?;
    let mut payments = broker.subscribe(&consumer("payments"), 0, PREFETCH).await?;
    let mut publisher = broker.publisher().await?;
    let sent = messages(50);
    let (outcomes, first, second) =
        join!(publisher.publish(&sent), take(&mut *orders, 50), take(&mut *payments, 50));
    confirmed(&outcomes)?;
    assert_eq!(first?, sent);
    assert_eq!(second?, sent);
    Ok(())
}

pub(crate) async fn a_message_is_in_the_queue_of_its_partition_only(ground: &Ground) -> Result<()> {
    let topology = mesh("partitions", 4);
    let broker = ground.broker(&topology)?;
    let mut publisher = broker.publisher().await?;
    let sent: Vec<Envelope> = messages(80)
        .into_iter()
        .enumerate()
        .map(|(i, it)| Envelope { key: format!("user-{i}"), ..it })
        .collect();
    let mut inflows = Vec::new();
    for partition in 0..4 {
        let share: Vec<Envelope> =
            sent.iter().filter(|it| topology.partition(&it.key) == partition).cloned().collect();
        assert!(!share.is_empty());
        inflows.push((broker.subscribe(&consumer("reader"), partition, PREFETCH).await?, share));
    }
    let receiving = async {
        for (inflow, share) in &mut inflows {
            assert_eq!(take(&mut **inflow, share.len()).await?, *share);
            quiet(&mut **inflow).await?;
        }
        anyhow::Ok(())
    };
    let (outcomes, received) = join!(publisher.publish(&sent), receiving);
    received?;
    confirmed(&outcomes)
}

pub(crate) async fn the_unacknowledged_are_delivered_again_in_order(ground: &Ground) -> Result<()> {
    let broker = ground.broker(&mesh("redelivery", 1))?;
    let mut publisher = broker.publisher().await?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let receiving = async {
        // Ten of twelve are out, and no acknowledgement lets the rest follow before the inflow is gone: RabbitMQ keeps the order
        // of what it puts back at once, but not among what it delivered at different times.
        let first = receive(&mut *inflow, 10).await?;
        assert!(first.iter().all(|delivery| !delivery.redelivered));
        drop(inflow);
        let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
        let again = receive(&mut *inflow, 10).await?;
        assert!(again.iter().all(|delivery| delivery.redelivered));
        let last = again[9].tag;
        assert_eq!(numbers(&envelopes(again)?), (0..10).collect::<Vec<_>>());
        inflow.ack_through(last).await?;
        let rest = receive(&mut *inflow, 2).await?;
        let last = rest[1].tag;
        assert_eq!(numbers(&envelopes(rest)?), [10, 11]);
        inflow.ack_through(last).await?;
        quiet(&mut *inflow).await
    };
    let sent = messages(12);
    let (outcomes, received) = join!(publisher.publish(&sent), receiving);
    received?;
    confirmed(&outcomes)
}

pub(crate) async fn an_acknowledgement_covers_everything_before(ground: &Ground) -> Result<()> {
    let broker = ground.broker(&mesh("acknowledgement", 1))?;
    let mut publisher = broker.publisher().await?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, PREFETCH).await?;
    let receiving = async {
        let first = receive(&mut *inflow, 20).await?;
        assert!(first.is_sorted_by(|one, next| one.tag < next.tag));
        inflow.ack_through(first[4].tag).await?;
        inflow.ack_through(first[4].tag).await?;
        inflow.ack_through(first[1].tag).await?;
        inflow.ack_through(first[19].tag).await?;
        drop(inflow);
        let mut inflow = broker.subscribe(&consumer("reader"), 0, PREFETCH).await?;
        quiet(&mut *inflow).await
    };
    let sent = messages(20);
    let (outcomes, received) = join!(publisher.publish(&sent), receiving);
    received?;
    confirmed(&outcomes)
}

pub(crate) async fn what_is_acknowledged_alone_leaves_the_others(ground: &Ground) -> Result<()> {
    let broker = ground.broker(&mesh("alone", 1))?;
    let mut publisher = broker.publisher().await?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
    let receiving = async {
        let first = receive(&mut *inflow, 10).await?;
        let others: Vec<u64> =
            first.iter().map(|delivery| delivery.tag).filter(|tag| *tag != first[2].tag).collect();
        inflow.ack(&others).await?;
        // They make room for others, which may be acknowledged with all before them.
        let next = receive(&mut *inflow, 2).await?;
        inflow.ack(&[next[0].tag]).await?;
        drop(inflow);
        let mut inflow = broker.subscribe(&consumer("reader"), 0, 10).await?;
        let mut again = receive(&mut *inflow, 2).await?;
        let last = again[1].tag;
        again.sort_by_key(|delivery| delivery.message.as_ref().map(|message| message.id).ok());
        assert_eq!(numbers(&envelopes(again)?), [2, 11]);
        inflow.ack_through(last).await?;
        quiet(&mut *inflow).await
    };
    let sent = messages(12);
    let (outcomes, received) = join!(publisher.publish(&sent), receiving);
    received?;
    confirmed(&outcomes)
}

pub(crate) async fn no_more_than_the_prefetch_is_unanswered(ground: &Ground) -> Result<()> {
    let broker = ground.broker(&mesh("prefetch", 1))?;
    let mut publisher = broker.publisher().await?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 5).await?;
    let receiving = async {
        let first = receive(&mut *inflow, 5).await?;
        quiet(&mut *inflow).await?;
        inflow.ack_through(first[1].tag).await?;
        let next = receive(&mut *inflow, 2).await?;
        quiet(&mut *inflow).await?;
        inflow.ack_through(next[1].tag).await?;
        assert_eq!(numbers(&take(&mut *inflow, 5).await?), (7..12).collect::<Vec<_>>());
        anyhow::Ok(())
    };
    let sent = messages(12);
    let (outcomes, received) = join!(publisher.publish(&sent), receiving);
    received?;
    confirmed(&outcomes)
}

pub(crate) async fn one_of_two_subscribers_is_active_until_it_goes(ground: &Ground) -> Result<()> {
    let broker = ground.broker(&mesh("single", 1))?;
    let mut publisher = broker.publisher().await?;
    let mut active = broker.subscribe(&consumer("reader"), 0, PREFETCH).await?;
    let mut standby = broker.subscribe(&consumer("reader"), 0, PREFETCH).await?;
    let receiving = async {
        let first = receive(&mut *active, 5).await?;
        quiet(&mut *standby).await?;
        active.ack_through(first[1].tag).await?;
        drop(active);
        let rest = receive(&mut *standby, 3).await?;
        assert!(rest.iter().all(|delivery| delivery.redelivered));
        standby.ack_through(rest[2].tag).await?;
        assert_eq!(numbers(&envelopes(rest)?), [2, 3, 4]);
        anyhow::Ok(())
    };
    let sent = messages(5);
    let (outcomes, received) = join!(publisher.publish(&sent), receiving);
    received?;
    confirmed(&outcomes)
}

pub(crate) async fn a_dropped_receive_loses_nothing(ground: &Ground) -> Result<()> {
    let broker = ground.broker(&mesh("cancelled", 1))?;
    let mut publisher = broker.publisher().await?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, PREFETCH).await?;
    let sent = messages(2_000);
    let publishing = async {
        for window in sent.chunks(40) {
            confirmed(&publisher.publish(window).await)?;
        }
        anyhow::Ok(())
    };
    let (published, received) = join!(publishing, take_impatiently(&mut *inflow, sent.len()));
    published?;
    assert_eq!(numbers(&received?), numbers(&sent));
    Ok(())
}

async fn take_impatiently(inflow: &mut dyn Inflow, count: usize) -> Result<Vec<Envelope>> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let patience = std::time::Duration::from_micros(rand::random_range(0..3_000));
        let Ok(batch) = timeout(patience, inflow.receive(rand::random_range(1..20))).await else { continue };
        let batch = batch?;
        inflow.ack_through(batch[batch.len() - 1].tag).await?;
        taken.extend(envelopes(batch)?);
    }
    Ok(taken)
}

/// So that a pause costs hardly any delivery: of each message there are a few until it is given up.
pub(crate) async fn a_cancelled_inflow_gives_what_was_delivered_and_nothing_more(
    ground: &Ground,
) -> Result<()> {
    let broker = ground.broker(&mesh("cancelled", 1))?;
    let mut inflow = broker.subscribe(&consumer("reader"), 0, 20).await?;
    let sent = messages(50);
    let mut publisher = broker.publisher().await?;
    let window = sent.clone();
    let publishing = tokio::spawn(async move { publisher.publish(&window).await });
    let mut received = inflow.receive(5).await?;
    inflow.cancel().await?;
    loop {
        let more = inflow.receive(5).await?;
        if more.is_empty() {
            break;
        }
        received.extend(more);
    }
    ensure!(received.len() <= 20, "{} messages were delivered", received.len());
    inflow.ack_through(received.last().map_or(0, |last| last.tag)).await?;
    drop(inflow);
    let mut next = broker.subscribe(&consumer("reader"), 0, PREFETCH).await?;
    let (given, mut again) = (received.len(), 0);
    while received.len() < sent.len() {
        let rest = next.receive(100).await?;
        // A quorum queue hands out messages until the cancellation has reached it: these come again, as redelivered.
        again += rest.iter().filter(|delivery| delivery.redelivered).count();
        next.ack_through(rest.last().map_or(0, |last| last.tag)).await?;
        received.extend(rest);
    }
    ensure!(given + again <= 20, "{again} messages were delivered twice, and {given} once");
    let received: Vec<Envelope> = received.into_iter().filter_map(|delivery| delivery.message.ok()).collect();
    // What was acknowledged does not come again.
    assert_eq!(numbers(&received), numbers(&sent));
    confirmed(&publishing.await?)
}
