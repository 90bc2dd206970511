//! The table of who consumes what is true, and orders wait for payments that have never run.

use std::{fs, path::Path};

use anyhow::{Result, ensure};
use lapin::{
    Channel, Connection, ConnectionProperties,
    options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};
use ordermesh::topology::{CONSUMERS, ORDERS, PAYMENTS, PUBLISHERS};
use orders::reactions::settle_orders;
use payments::reactions::decide_payments;
use serde_json::json;
use world::{Api, PATIENCE, Postgres, Process, Program, RabbitMq, eventually};

use crate::corpus::kinds;

#[test]
fn the_table_names_the_subscriptions_of_the_services_and_messages_that_exist() {
    for (consumer, subscription) in
        [(ORDERS, settle_orders::subscription()), (PAYMENTS, decide_payments::subscription())]
    {
        assert_eq!(consumer.name, subscription.consumer);
        assert_eq!(consumer.kinds, subscription.kinds);
    }
    assert_eq!(CONSUMERS, [ORDERS, PAYMENTS], "whoever publishes declares all of them");
    // Each message of an events.proto has one who publishes it and one who consumes it; what nobody consumes stays in an outbox.
    let declared: Vec<String> =
        kinds().expect("the contracts were compiled by our build").into_iter().collect();
    let sorted = |mut kinds: Vec<&'static str>| {
        kinds.sort_unstable();
        kinds
    };
    assert_eq!(sorted(CONSUMERS.iter().flat_map(|consumer| consumer.kinds.to_vec()).collect()), declared);
    assert_eq!(sorted(PUBLISHERS.iter().flat_map(|publisher| publisher.kinds.to_vec()).collect()), declared);
}

fn read(file: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is below the root");
    fs::read_to_string(root.join(file)).expect("it is there")
}

#[test]
fn the_console_and_the_page_for_neighbours_have_the_kinds_of_the_table() {
    let (pauses, page) = (read("console/web/operations/pauses.tsx"), read("docs/NEIGHBOURS.md"));
    for consumer in CONSUMERS {
        let kinds: Vec<String> = consumer.kinds.iter().map(|kind| format!("'{kind}'")).collect();
        let line = format!("  {}: [{}],", consumer.name, kinds.join(", "));
        assert!(
            pauses.lines().any(|it| it == line),
            "KINDS in console/web/operations/pauses.tsx has no {line}"
        );
    }
    let of_payments = page.lines().find(|line| line.starts_with("| `ordermesh.payments.v1.#` |"));
    let of_payments = of_payments.expect("a binding for all of payments");
    for kind in PUBLISHERS.iter().flat_map(|publisher| publisher.kinds) {
        if let Some(name) = kind.strip_prefix("ordermesh.payments.v1.") {
            assert!(
                of_payments.contains(&format!("`{name}`")),
                "docs/NEIGHBOURS.md lacks {name}: {of_payments}"
            );
        }
    }
}

#[test]
fn the_users_of_the_broker_and_their_page_have_the_kinds_of_each_publisher() {
    let (page, script) = (read("docs/CONFIGURATION.md"), read("deploy/rabbitmq/users.sh"));
    for publisher in PUBLISHERS {
        let topics: Vec<String> = publisher.kinds.iter().map(|kind| format!("`{kind}.*`")).collect();
        let row = format!("| `{}` | {} |", publisher.name, topics.join(", "));
        assert!(page.lines().any(|line| line == row), "docs/CONFIGURATION.md has no {row}");
        let beginning = format!("user {} ", publisher.name);
        let user = script.lines().find(|line| line.starts_with(&beginning)).expect("a user");
        for kind in publisher.kinds {
            let name = kind.rsplit('.').next().expect("a name");
            assert!(user.contains(name), "{user} lacks {name}");
        }
    }
}

#[tokio::test]
async fn orders_placed_before_payments_first_started_wait_in_its_queue() -> Result<()> {
    let (postgres, rabbitmq) = (Postgres::start().await?, RabbitMq::shared().await?);
    // A queue that takes everything, so that the broker confirms whatever is published.
    let stranger = Connection::connect(&rabbitmq.amqp_url(), ConnectionProperties::default()).await?;
    let channel = stranger.create_channel().await?;
    let start = async |service: &str, arguments: &[String]| {
        postgres.create_database(service).await?;
        Program::named(service)?
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(arguments.to_vec())
            .env("DATABASE_URL", postgres.url(service))
            .env("AMQP_URL", rabbitmq.amqp_url())
            .start()
    };
    let mut orders = start("orders", &[]).await?;
    let orders_url = format!("http://{}", orders.address("orders-grpc").await?);
    eventually("the exchange", PATIENCE, async || {
        let channel = stranger.create_channel().await?;
        let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare("stranger".into(), own, FieldTable::default()).await?;
        let exchange = ordermesh::EVENTS_EXCHANGE.into();
        let options = QueueBindOptions::default();
        channel.queue_bind("stranger".into(), exchange, "#".into(), options, FieldTable::default()).await?;
        anyhow::Ok(())
    })
    .await?;

    let mut gateway = Program::named("gateway")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(["--orders-url".to_owned(), orders_url])
        .start()?;
    let api = Api::new(format!("http://{}", gateway.address("http").await?))?;
    let placed = api.post("/gateway/orders", &json!({ "userId": "alice", "amount": 1 })).await?;
    ensure!(placed.status == 200, "{}", placed.text);
    eventually("the confirm", PATIENCE, async || {
        let copies = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("stranger".into(), copies, FieldTable::default()).await?;
        ensure!(queue.message_count() == 1, "{}", queue.message_count());
        anyhow::Ok(())
    })
    .await?;

    let mut payments = start("payments", &[]).await?;
    let path = format!("/gateway/orders/{}", placed.body["id"].as_str().unwrap_or_default());
    eventually("the decision", PATIENCE, async || {
        let order = api.get(&path).await?;
        ensure!(order.body["cancelReason"] == "ACCOUNT_NOT_FOUND", "{}", order.text);
        anyhow::Ok(())
    })
    .await?;
    payments.kill9().await?;
    what_loses_messages_is_named(&rabbitmq, &channel, &api, &orders).await
}

/// A policy that removes messages, and whoever deletes a queue, in lines of the level ERROR of the process that still runs.
async fn what_loses_messages_is_named(
    rabbitmq: &RabbitMq,
    channel: &Channel,
    api: &Api,
    orders: &Process,
) -> Result<()> {
    const QUEUE: &str = "ordermesh.events.payments.0";
    let says = async |words: &[&str]| {
        eventually(&format!("an ERROR with {words:?}"), PATIENCE, async || {
            let output = orders.output();
            let mut errors = output.lines().filter(|line| line.contains("ERROR"));
            ensure!(errors.any(|line| words.iter().all(|word| line.contains(word))), "{output}");
            anyhow::Ok(())
        })
        .await
    };
    let policy = ["set_policy", "short-lived", QUEUE, r#"{"message-ttl":1}"#, "--apply-to", "queues"];
    rabbitmq.control(&policy).await?;
    let placed = api.post("/gateway/orders", &json!({ "userId": "alice", "amount": 1 })).await?;
    ensure!(placed.status == 200, "{}", placed.text);
    says(&["a policy of the broker removes messages", "message-ttl", QUEUE]).await?;
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    says(&["declared again what was missing on the broker", QUEUE]).await
}
