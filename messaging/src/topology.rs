//! The topology: which consumer subscribes to which kinds of messages, through which queues. One table in code, declared idempotently.

/// The last word of the names that have to do with dead letters.
const DEAD: &str = "dead";

/// A consumer and the kinds of messages it subscribes to. Every subscription gets its own copy of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The consumer's name, such as `payments`: part of its queues' names and of its inbox rows.
    pub consumer: String,
    /// Full names of the message types it subscribes to. One that is taken out stays bound on the broker, and its messages are held:
    /// another process, of the version before, may still subscribe to it.
    pub kinds: Vec<String>,
}

impl Subscription {
    /// A consumer of these kinds.
    #[must_use]
    pub fn new(consumer: &str, kinds: &[&str]) -> Self {
        Self { consumer: consumer.to_owned(), kinds: kinds.iter().map(ToString::to_string).collect() }
    }
}

/// How messages travel. Every process of a mesh must be given the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The durable topic exchange, and the prefix of every queue's name.
    pub exchange: String,
    /// Queues per consumer, at least 1. Messages of one key meet in one of them, where a single consumer is active.
    pub partitions: u16,
    /// The consumers that must exist. Whoever publishes declares their queues first, so that a confirm means "queued for each of
    /// them" whatever else is bound, and whether they have started yet or not. Others may come and go.
    pub consumers: Vec<Subscription>,
}

impl Topology {
    /// A topology whose consumers, which must exist, are these.
    pub fn new(
        exchange: impl Into<String>,
        partitions: u16,
        consumers: impl IntoIterator<Item = Subscription>,
    ) -> Self {
        Self { exchange: exchange.into(), partitions, consumers: consumers.into_iter().collect() }
    }

    /// The partition of a key.
    #[must_use]
    pub fn partition(&self, key: &str) -> u16 {
        partition(key, self.partitions)
    }

    /// The routing key of a message: its kind, and its partition as the last word.
    #[must_use]
    pub fn routing_key(&self, kind: &str, key: &str) -> String {
        format!("{kind}.{}", self.partition(key))
    }

    /// The queue of one partition of a consumer.
    #[must_use]
    pub fn queue(&self, consumer: &str, partition: u16) -> String {
        format!("{}.{consumer}.{partition}", self.exchange)
    }

    /// The routing keys that are bound to the queue of one partition.
    #[must_use]
    pub fn bindings(&self, subscription: &Subscription, partition: u16) -> Vec<String> {
        subscription.kinds.iter().map(|kind| format!("{kind}.{partition}")).collect()
    }

    /// Where the broker puts what it gives up, whoever it was meant for; a relay sorts it.
    #[must_use]
    pub fn dead_letter_queue(&self) -> String {
        format!("{}.{DEAD}.letters", self.exchange)
    }

    /// The one that versions before used, from which the broker may remove what comes back too often. A relay empties it.
    #[must_use]
    pub fn former_dead_letter_queue(&self) -> String {
        format!("{}.{DEAD}", self.exchange)
    }

    /// Where those wait that were meant for a consumer, until it has parked them.
    #[must_use]
    pub fn dead_letter_queue_of(&self, consumer: &str) -> String {
        format!("{}.{consumer}.{DEAD}", self.exchange)
    }

    /// The exchange through which a relay sorts them. The default exchange would ask for a permission on a name that is not ours.
    #[must_use]
    pub fn dead_letter_sorting(&self) -> String {
        format!("{}.{DEAD}.sorted", self.exchange)
    }

    /// The consumer of a queue with such a name.
    #[must_use]
    pub fn consumer_of<'q>(&self, queue: &'q str) -> Option<&'q str> {
        let inside = queue.strip_prefix(&self.exchange)?.strip_prefix('.')?;
        let (consumer, last) = inside.rsplit_once('.')?;
        (last == DEAD || last.parse::<u16>().is_ok()).then_some(consumer)
    }

    /// The exchange that leads there.
    #[must_use]
    pub fn dead_letter_exchange(&self) -> String {
        format!("{}.{DEAD}", self.exchange)
    }
}

/// The partition of a key, of so many: FNV-1a, because it must be the same in every process and every version.
#[must_use]
pub fn partition(key: &str, partitions: u16) -> u16 {
    let hash =
        key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    // The remainder is below `partitions`, a u16.
    u16::try_from(hash % u32::from(partitions.max(1))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_never_move() {
        let topology = Topology::new("mesh", 8, []);
        let placed = ["alice", "bob", "carol", ""].map(|key| topology.partition(key));
        // FNV-1a of these keys, modulo 8: another hash would send a key's messages past those already queued.
        assert_eq!(placed, [7, 4, 2, 5]);
    }

    #[test]
    fn a_queue_names_its_consumer() {
        let topology = Topology::new("a.mesh", 1, []);
        assert_eq!(topology.consumer_of(&topology.queue("pay.ments", 12)), Some("pay.ments"));
        assert_eq!(topology.consumer_of(&topology.dead_letter_queue_of("orders")), Some("orders"));
        let shared = [topology.dead_letter_queue(), topology.former_dead_letter_queue()];
        for strange in shared.into_iter().chain(["b.mesh.orders.0".into(), "a.mesh.orders.x".into()]) {
            assert_eq!(topology.consumer_of(&strange), None);
        }
    }
}
