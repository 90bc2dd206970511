//! Where the messages about one thing are in a service, and what they wait for, as its admin services say it.

use std::time::Duration;

use chassis::{clock::timestamp, status::Chain};
use messaging::{
    health::{Cause, Condition, Health, Report},
    origin::trace_id,
    outbox, processes,
    relay::{LEASE_TERM, OUTBOX},
    topology::Topology,
    whereabouts::{self, About, Ahead, Waiting},
};
use ordermesh::messaging::v1 as pb;
use storage::{Database, Failure, lease};
use tokio::time::timeout;

use crate::admin::brief;

/// How long the database is asked: an operator wants to be answered also when it is away.
const PATIENCE: Duration = Duration::from_secs(2);

/// Knows where the messages of one service are.
#[derive(Debug, Clone)]
pub struct Whereabouts {
    /// Where they wait.
    pub database: Database,
    /// What the parts of the process say of themselves.
    pub health: Health,
    /// Which queue is whose.
    pub topology: Topology,
    /// The name of the service, and of its consumer.
    pub name: &'static str,
    /// The id of this process.
    pub process: String,
}

impl Whereabouts {
    /// Where the messages of this key are that have this text in them.
    pub async fn of(&self, key: &str, text: &str) -> pb::Whereabouts {
        let mut found = pb::Whereabouts {
            relay: Some(self.relay()),
            consumer: Some(self.consumer(self.topology.partition(key), &[])),
            ..pb::Whereabouts::default()
        };
        if let Err(error) = self.within(self.add_rows(About { key, text }, &mut found)).await {
            found.database_error = error;
        }
        found
    }

    /// What a question to the database comes to, within bounds.
    ///
    /// # Errors
    /// Why there is no answer, as text.
    pub async fn within<T>(&self, asking: impl Future<Output = Result<T, Failure>>) -> Result<T, String> {
        match timeout(PATIENCE, asking).await {
            Ok(answered) => answered.map_err(|failure| Chain(&failure).to_string()),
            Err(_elapsed) => Err(format!("the database has not answered within {PATIENCE:?}")),
        }
    }

    async fn add_rows(&self, about: About<'_>, found: &mut pb::Whereabouts) -> Result<(), Failure> {
        let read = self.database.read();
        for waits in whereabouts::waiting(read, about).await? {
            let ahead = whereabouts::ahead(read, about.key, &waits).await?;
            found.outbox.push(waiting(waits, ahead));
        }
        let parked = whereabouts::parked(read, self.name, about).await?;
        found.parked = parked.into_iter().map(brief).collect();
        found.relay = Some(self.relay_with_lease().await?);
        found.consumer = Some(self.consumer(self.topology.partition(about.key), &self.others().await?));
        Ok(())
    }

    /// What publishes, and which process holds the lease for that.
    ///
    /// # Errors
    /// As the database says.
    pub async fn relay_with_lease(&self) -> Result<pb::RelayState, Failure> {
        let (mut relay, others) = (self.relay(), self.others().await?);
        relay.per_second += rate(&others, &self.source());
        let Some(held) = lease::held(&self.database, OUTBOX).await? else { return Ok(relay) };
        // The one that stands by does not see what keeps the other from its work.
        let publishes = others.iter().find(|(id, _)| *id == held.holder);
        if let Some(condition) = publishes.and_then(|(_, report)| report.parts.get("relay"))
            && works(relay.state.as_ref())
        {
            relay.state = Some(state(Some(condition.clone())));
        }
        Ok(pb::RelayState {
            lease_holder: held.holder,
            lease_left: Some(duration(held.left)),
            lease_unrenewed: Some(duration(LEASE_TERM.saturating_sub(held.left))),
            ..relay
        })
    }

    /// What consumes each partition.
    ///
    /// # Errors
    /// As the database says.
    pub async fn consumers(&self) -> Result<Vec<pb::ConsumerState>, Failure> {
        let others = self.others().await?;
        Ok((0..self.topology.partitions).map(|partition| self.consumer(partition, &others)).collect())
    }

    /// What the other processes of the service say of their parts.
    async fn others(&self) -> Result<Vec<(String, Report)>, Failure> {
        Ok(processes::reports(&self.database, &self.process).await?)
    }

    /// The name of the service among those that publish.
    fn source(&self) -> String {
        format!("/ordermesh/{}", self.name)
    }

    fn relay(&self) -> pb::RelayState {
        pb::RelayState {
            state: Some(self.publishing()),
            per_second: self.health.per_second(&self.source()),
            ..pb::RelayState::default()
        }
    }

    fn consumer(&self, partition: u16, others: &[(String, Report)]) -> pb::ConsumerState {
        let part = format!("consumer.{partition}");
        let own = self.part(&part);
        // One of them consumes the partition, and others stand by, which works.
        let other = others.iter().filter_map(|(_, report)| report.parts.get(&part)).find(|part| blocks(part));
        let shown = other.filter(|_| works(Some(&own))).map(|condition| state(Some(condition.clone())));
        let queue = self.topology.queue(self.name, partition);
        let depth = self.health.queue(&queue);
        pb::ConsumerState {
            consumer: self.name.to_owned(),
            partition: partition.into(),
            state: Some(shown.unwrap_or(own)),
            queue: depth.map(|_| queue).unwrap_or_default(),
            queue_messages: depth.map_or(0, |depth| number(depth.messages)),
            queue_consumers: depth.map_or(0, |depth| i32::try_from(depth.consumers).unwrap_or(i32::MAX)),
            per_second: self.health.per_second(self.name) + rate(others, self.name),
            dead_letters: number(self.health.dead_letters()),
        }
    }

    /// A process that stands by publishes nothing, and sees all the same whether there is a broker: it looks after the queues.
    fn publishing(&self) -> pb::PartState {
        let (relay, topology) = (self.part("relay"), self.part("topology"));
        if works(Some(&relay)) && topology.cause() == pb::part_state::Cause::Broker {
            topology
        } else {
            relay
        }
    }

    fn part(&self, name: &str) -> pb::PartState {
        let parts = self.health.parts();
        state(parts.into_iter().find(|(part, _)| part == name).map(|(_, condition)| condition))
    }
}

/// Messages a second of a relay or consumer in other processes.
fn rate(others: &[(String, Report)], of: &str) -> f64 {
    others.iter().filter_map(|(_, report)| report.rates.get(of)).sum()
}

fn works(state: Option<&pb::PartState>) -> bool {
    state.is_some_and(|state| state.condition() == pb::part_state::Condition::Ok)
}

/// Whether it concerns what is consumed, and not only the process: where one has no broker, another takes over.
const fn blocks(condition: &Condition) -> bool {
    matches!(
        condition,
        Condition::Degraded { cause: Cause::Database | Cause::Messages, .. }
            | Condition::Failed { cause: Cause::Database | Cause::Messages, .. }
    )
}

fn state(condition: Option<Condition>) -> pb::PartState {
    use pb::part_state::{Cause as By, Condition as Is};
    let (condition, why) = match condition {
        None => (Is::Unspecified, None),
        Some(Condition::Ok) => (Is::Ok, None),
        Some(Condition::Degraded { cause, reason, since }) => {
            (Is::Degraded, Some((by(cause), reason, since)))
        }
        Some(Condition::Failed { cause, reason, since }) => (Is::Failed, Some((by(cause), reason, since))),
        Some(Condition::Paused { reason, since }) => (Is::Paused, Some((By::Unspecified, reason, since))),
    };
    let state = pb::PartState { condition: condition.into(), ..pb::PartState::default() };
    match why {
        None => state,
        Some((cause, reason, since)) => {
            pb::PartState { cause: cause.into(), reason, since: Some(timestamp(since)), ..state }
        }
    }
}

fn by(cause: Cause) -> pb::part_state::Cause {
    match cause {
        Cause::Starting => pb::part_state::Cause::Starting,
        Cause::Broker => pb::part_state::Cause::Broker,
        Cause::Database => pb::part_state::Cause::Database,
        Cause::Messages => pb::part_state::Cause::Messages,
    }
}

fn waiting(waits: Waiting, ahead: Ahead) -> pb::WaitingMessage {
    let of_its_line = ahead.error.clone().filter(|_| ahead.unroutable);
    pb::WaitingMessage {
        message_id: waits.message_id.to_string(),
        kind: waits.kind,
        trace_id: waits.traceparent.as_deref().and_then(trace_id).unwrap_or_default(),
        create_time: Some(timestamp(waits.create_time)),
        unroutable: ahead.unroutable || waits.state == outbox::State::Unroutable,
        attempts: waits.attempts,
        next_attempt_time: (waits.next_attempt_time > 0).then(|| timestamp(waits.next_attempt_time)),
        error: waits.last_error.or(of_its_line).unwrap_or_default(),
        ahead: ahead.all,
        ahead_of_key: ahead.of_key,
        ahead_error: ahead.error.unwrap_or_default(),
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn duration(time: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        // Below 10^9.
        nanos: i32::try_from(time.subsec_nanos()).unwrap_or_default(),
    }
}
