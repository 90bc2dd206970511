//! A cluster of three nodes of RabbitMQ under load: whichever of them is killed, orders end at the other two, and nothing is lost.

use std::{env, time::Duration};

use anyhow::{Context as _, Result};
use world::{Postgres, RabbitMq};

use crate::loaded::{Loaded, Witness};

/// A queue that each message of orders goes through, and all that there are.
const QUEUE: &str = "ordermesh.events.payments.0";
const QUEUES: [&str; 5] = [
    QUEUE,
    "ordermesh.events.payments.dead",
    "ordermesh.events.orders.0",
    "ordermesh.events.orders.dead",
    "ordermesh.events.dead.letters",
];

/// From the death of a node on, the end of an order that is placed then. An election and another connection take a second, and more on a busy
/// machine: what nobody leads a queue for is refused, and published again later, and opening a channel has 30 s.
const GOES_ON: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_end_whichever_node_is_killed() -> Result<()> {
    run(1).await
}

/// `just matrix`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as it is asked to"]
async fn for_rounds() -> Result<()> {
    run(env::var("MATRIX_ROUNDS")?.parse()?).await
}

/// In each round a follower and the leader of the queue are killed. At the end all servers are, at once.
async fn run(rounds: usize) -> Result<()> {
    let (mut postgres, mut nodes) = tokio::try_join!(Postgres::start(), RabbitMq::start_cluster())?;
    let urls = nodes.each_ref().map(RabbitMq::amqp_url).join(",");
    let mut loaded = Loaded::apart(&postgres, &urls).await?;
    nodes[0].have_members(&QUEUES, nodes.len()).await?;
    for (node, queue) in nodes.iter().flat_map(|node| QUEUES.map(|queue| (node, queue))) {
        node.remembers(queue).await?;
    }
    let witness = loaded.witness()?;
    loaded.during(kill_each(&mut nodes, &witness, rounds)).await?;
    loaded.judged("at the end").await?;

    loaded.crash().await?;
    postgres.kill().await?;
    for node in &mut nodes {
        node.kill().await?;
    }
    let [first, second, third] = &mut nodes;
    tokio::try_join!(first.start_again(), second.start_again(), third.start_again())?;
    postgres.start_again().await?;
    loaded.start_and_judge().await?;
    eprintln!("node of three killed: {} times, 0 lost, 0 doubled", 2 * rounds);
    Ok(())
}

async fn kill_each(nodes: &mut [RabbitMq; 3], witness: &Witness, rounds: usize) -> Result<()> {
    for round in 1..=rounds {
        for leads in [false, true] {
            witness.sees_load().await?;
            let quorums = nodes[0].quorums().await?;
            let leader = &quorums.get(QUEUE).context("the queue is there")?.leader;
            let node = nodes.iter_mut().find(|node| (node.node() == leader) == leads);
            let node = node.context("three nodes have a leader and followers")?;
            node.kill().await?;
            let took = witness.order_ends(GOES_ON).await?;
            let role = if leads { "the leader" } else { "a follower" };
            eprintln!(
                "cluster, round {round}: {} killed, {role}; an order ended after {took:.1?}",
                node.node()
            );
            node.start_again().await?;
            node.have_members(&QUEUES, 3).await?;
        }
    }
    Ok(())
}
