//! Ten thousand orders at once against an account that is worth half of them, while each message comes twice and some cannot be read: exactly
//! that half is paid.

use std::{
    collections::{HashSet, VecDeque},
    slice::from_mut,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lapin::{
    BasicProperties, PublisherConfirm,
    message::Delivery,
    options::BasicPublishOptions,
    types::{AMQPValue, FieldTable},
};
use ordermesh::{
    messaging::v1::{
        DiscardParkedMessagesRequest, ParkedMessageFilter,
        messaging_admin_service_client::MessagingAdminServiceClient,
    },
    orders::v1::OrderPlaced,
};
use prost::Name as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tokio::time::{sleep, timeout};
use uuid::Uuid;
use world::{Copies, RabbitMq, eventually};

use crate::{
    admin_json::with_token,
    journal::{AMOUNT, Call, Grpc, Journal, Judge, Way, What},
    mesh::{APART, Arrangement, Mesh},
};

const ORDERS: usize = 10_000;
const PAID: usize = ORDERS / 2;
const UNREADABLE: usize = 100;
/// What comes on the exchange for the first time: a request and a decision for each order, and what cannot be read.
const MESSAGES: usize = 2 * ORDERS + UNREADABLE;
/// So many copies wait for their turn, of which any one is next: a message comes again some hundred others later, out of order.
const HELD: usize = 500;
/// Each time that so many were published again, one that cannot be read is: all of them before the last orders.
const EVERY: usize = 150;
/// So many may be without their confirm.
const UNCONFIRMED: usize = 256;

const SEED: u64 = 1;
/// How long all of it may take, and how long a client waits that was not answered. A busy machine takes many seconds for ten thousand orders.
const REST: Duration = Duration::from_secs(120);
const AGAIN: Duration = Duration::from_millis(100);
/// Between two looks at what takes that long.
const LOOK: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_orders_for_five_thousand_exactly_those_are_paid() -> Result<()> {
    let mesh = Mesh::start(Arrangement { apart: false, ..APART }).await?;
    let rabbitmq = mesh.rabbitmq.as_ref().context("a mesh on RabbitMQ")?;
    let mut journal = Journal::of("alice".to_owned());
    journal.add([What::TopUp { amount: AMOUNT * i64::try_from(PAID)? }]);
    let ways = [way(&mesh)?, way(&mesh)?];
    for call in &mut journal.calls {
        call.make(&journal.user, &ways[0]).await?;
    }

    let stranger = Stranger::at(rabbitmq).await?;
    let all = async { tokio::try_join!(stranger.disturb(), place(&mut journal, &ways)) };
    let (again, ()) = timeout(REST, all).await.context("orders were still to be placed or decided")??;
    eprintln!("{again} messages came a second time, out of order");
    ensure!(again >= MESSAGES, "only {again} messages came again");
    has_come(rabbitmq).await?;
    are_paid(&mesh).await?;

    discard(&mesh).await?;
    Judge::of(&mesh, REST)?.believes(from_mut(&mut journal)).await
}

/// A connection of its own: a service takes 1,024 calls at once on each.
fn way(mesh: &Mesh) -> Result<Way> {
    let at = |address| format!("http://{address}");
    Ok(Way::Grpc(Grpc::at(&at(mesh.orders), &at(mesh.payments))?))
}

/// Places all orders at once.
async fn place(journal: &mut Journal, ways: &[Way]) -> Result<()> {
    let user = journal.user.clone();
    let calls = journal.add(vec![What::Place; ORDERS]).iter_mut().zip(ways.iter().cycle());
    let placed = stream::iter(calls).map(|(call, way)| answered(call, &user, way));
    placed.buffer_unordered(ORDERS).try_collect::<Vec<()>>().await.map(drop)
}

async fn answered(call: &mut Call, user: &str, way: &Way) -> Result<()> {
    loop {
        let given = call.attempt(user, way).await?;
        call.write_down(given);
        if call.answer.is_some() {
            return Ok(());
        }
        sleep(AGAIN).await;
    }
}

/// One who gets a copy of each message, publishes it once more, and now and then what nobody can read.
struct Stranger {
    copies: Copies,
    confirms: VecDeque<PublisherConfirm>,
    again: usize,
    unreadable: usize,
}

impl Stranger {
    async fn at(rabbitmq: &RabbitMq) -> Result<Self> {
        let copies = rabbitmq.copies(ordermesh::EVENTS_EXCHANGE, "#").await?;
        Ok(Self { copies, confirms: VecDeque::new(), again: 0, unreadable: 0 })
    }

    /// Goes on until each message was there twice, and returns how many those are.
    async fn disturb(mut self) -> Result<usize> {
        let (mut random, mut seen, mut held) = (StdRng::seed_from_u64(SEED), HashSet::new(), Vec::new());
        while seen.len() < MESSAGES {
            let copy =
                self.copies.consumer.next().await.context("the broker has ended the subscription")??;
            let id = copy.properties.message_id().as_ref().context("each message has its id")?;
            // What comes again is a copy of what was published here.
            if seen.insert(id.to_string()) {
                held.push(copy);
            }
            if held.len() > HELD {
                let next = random.random_range(0..held.len());
                self.deliver_again(held.swap_remove(next)).await?;
            }
            if self.again / EVERY > self.unreadable && self.unreadable < UNREADABLE {
                self.publish_unreadable().await?;
            }
        }
        held.shuffle(&mut random);
        for copy in held {
            self.deliver_again(copy).await?;
        }
        self.confirmed(0).await?;
        self.copies.connection.close(200, "done".into()).await?;
        Ok(self.again)
    }

    async fn deliver_again(&mut self, copy: Delivery) -> Result<()> {
        let options = BasicPublishOptions::default();
        let sent = self.copies.channel.basic_publish(
            copy.exchange,
            copy.routing_key,
            options,
            &copy.data,
            copy.properties,
        );
        self.confirms.push_back(sent.await?);
        self.again += 1;
        self.confirmed(UNCONFIRMED).await
    }

    /// A request for the payment of an order whose payload is none: its last three bits are of no type of a field.
    async fn publish_unreadable(&mut self) -> Result<()> {
        let number = u8::try_from(self.unreadable)?;
        let (id, kind) = (Uuid::from_u128(u128::from(number) + 1).to_string(), OrderPlaced::full_name());
        let mut headers = FieldTable::default();
        for (name, value) in [
            ("specversion", "1.0"),
            ("id", id.as_str()),
            ("source", "/a/stranger"),
            ("type", kind.as_str()),
            ("time", "2026-01-31T12:00:00Z"),
            ("partitionkey", "alice"),
        ] {
            headers.insert(format!("cloudEvents:{name}").into(), AMQPValue::LongString(value.into()));
        }
        let properties = BasicProperties::default()
            .with_content_type("application/protobuf".into())
            .with_message_id(id.into())
            .with_headers(headers);
        let (exchange, route) = (ordermesh::EVENTS_EXCHANGE.into(), format!("{kind}.0"));
        let (options, payload) = (BasicPublishOptions::default(), [0xff, 0xff, 0xff, number]);
        let sent = self.copies.channel.basic_publish(exchange, route.into(), options, &payload, properties);
        self.confirms.push_back(sent.await?);
        self.unreadable += 1;
        Ok(())
    }

    /// Waits until no more than so many are without their confirm.
    async fn confirmed(&mut self, most: usize) -> Result<()> {
        while self.confirms.len() > most
            && let Some(confirm) = self.confirms.pop_front()
        {
            ensure!(confirm.await?.is_ack(), "the broker has refused a message");
        }
        Ok(())
    }
}

/// Waits until the services have taken all that came from their queues.
async fn has_come(rabbitmq: &RabbitMq) -> Result<()> {
    eventually("empty queues", REST, async || {
        let queues = rabbitmq.control(&["-q", "list_queues", "name", "messages"]).await?;
        for queue in ["ordermesh.events.orders.0", "ordermesh.events.payments.0"] {
            let is_empty = queues.lines().any(|line| line.trim() == format!("{queue}\t0"));
            ensure!(is_empty, "{queues}");
        }
        anyhow::Ok(())
    })
    .await
}

/// Half of the orders are paid, and the other half is not because nothing was left.
async fn are_paid(mesh: &Mesh) -> Result<()> {
    eventually("the end of every order", REST, async || {
        sleep(LOOK).await;
        let open = mesh.count("orders", "SELECT COUNT(*) FROM orders WHERE status = 1").await?;
        ensure!(open == 0, "{open} orders are NEW");
        anyhow::Ok(())
    })
    .await?;
    for (service, what, expected) in [
        ("orders", "orders WHERE status = 2", PAID),
        ("orders", "orders WHERE status = 3 AND cancel_reason = 1", ORDERS - PAID),
        ("payments", "payments WHERE outcome = 1", PAID),
        ("payments", "payments WHERE outcome = 2 AND reason = 1 AND balance_observed = 0", ORDERS - PAID),
        ("payments", "ledger_entries WHERE entry_type = 2", PAID),
        ("payments", "parked", UNREADABLE),
        ("orders", "parked", 0),
    ] {
        let found = mesh.count(service, &format!("SELECT COUNT(*) FROM {what}")).await?;
        ensure!(usize::try_from(found)? == expected, "{found} of {what}, not {expected}");
    }
    let balance = mesh.balance("alice").await?;
    ensure!(balance == 0, "{balance} are left");
    Ok(())
}

/// As an operator does with what nobody can read: `ordermesh check` holds parked messages against a mesh.
async fn discard(mesh: &Mesh) -> Result<()> {
    let mut admin = MessagingAdminServiceClient::connect(format!("http://{}", mesh.payments)).await?;
    let discard = DiscardParkedMessagesRequest {
        filter: Some(ParkedMessageFilter { consumer: "payments".into(), ..Default::default() }),
        operator: "olga".into(),
        reason: "nobody can read them".into(),
        ..Default::default()
    };
    let discarded = admin.discard_parked_messages(with_token(discard)?).await?.into_inner().discarded;
    ensure!(usize::try_from(discarded)? == UNREADABLE, "{discarded} are discarded");
    Ok(())
}
