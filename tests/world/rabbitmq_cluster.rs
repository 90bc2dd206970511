//! A cluster of three nodes of RabbitMQ on loopback.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{PATIENCE, RabbitMq, Scratch, eventually, rabbitmq_names::Names};

const NODES: [&str; 3] = ["node1@localhost", "node2@localhost", "node3@localhost"];

/// A quorum queue, as a node sees it.
#[derive(Debug)]
pub struct Quorum {
    /// The name of the node that leads it.
    pub leader: String,
    /// The names of the nodes on which its members run.
    pub online: Vec<String>,
}

impl RabbitMq {
    /// Starts three nodes that are one broker. It goes on as long as two of them run; one that was stopped or killed comes back with
    /// [`RabbitMq::start_again`]. Takes some ten seconds of processor time.
    ///
    /// # Errors
    /// As [`RabbitMq::start`]; when they do not find each other.
    pub async fn start_cluster() -> Result<[Self; 3]> {
        let names = Arc::new(Names::start().await?);
        let mut settings = "cluster_formation.peer_discovery_backend = classic_config\n".to_owned();
        for (number, node) in (1..).zip(NODES) {
            settings += &format!("cluster_formation.classic_config.nodes.{number} = {node}\n");
        }
        let node = |name| Self::on(Scratch::new("rabbitmq")?, name, Arc::clone(&names), None, &settings);
        let [mut first, mut second, mut third] = [node(NODES[0])?, node(NODES[1])?, node(NODES[2])?];
        tokio::try_join!(first.start_again(), second.start_again(), third.start_again())?;
        let timeout = PATIENCE.as_secs().to_string();
        first.control(&["await_online_nodes", "3", "--timeout", &timeout]).await?;
        Ok([first, second, third])
    }

    /// Where each queue in `/` is led, and where its members run, by the names of the queues.
    ///
    /// # Errors
    /// When one is no quorum queue.
    pub async fn quorums(&self) -> Result<BTreeMap<String, Quorum>> {
        let list = ["-q", "list_queues", "name", "leader", "online", "--formatter", "json"];
        let list: Value = serde_json::from_str(&self.control(&list).await?)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a name");
        let quorum = |queue: &Value| {
            let online = queue["online"].as_array().context("a list of nodes")?;
            let online = online.iter().map(text).collect::<Result<_>>()?;
            anyhow::Ok((text(&queue["name"])?, Quorum { leader: text(&queue["leader"])?, online }))
        };
        let queues = list.as_array().context("a list of queues")?.iter();
        queues.map(|queue| quorum(queue).with_context(|| queue.to_string())).collect()
    }

    /// Waits until each of these quorum queues in `/` has members on so many nodes that run.
    ///
    /// # Errors
    /// When they have not within a minute.
    pub async fn have_members(&self, queues: &[&str], count: usize) -> Result<()> {
        eventually(&format!("{count} members of each queue"), 3 * PATIENCE, async || {
            let quorums = self.quorums().await?;
            for queue in queues {
                let online = quorums.get(*queue).map_or(0, |quorum| quorum.online.len());
                ensure!(online == count, "{queue} has {online}: {quorums:?}");
            }
            Ok(())
        })
        .await
    }
}
