//! The topology: which consumer hears which kinds of messages, through which queues. One table in code, declared idempotently.

/// A consumer and the kinds of messages it hears. Every subscription gets its own copy of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The consumer's name, such as `payments`: part of its queues' names and of its inbox rows.
    pub consumer: String,
    /// Full names of the message types it hears. One that is taken out stays bound on the broker, and its messages are held:
    /// another process, of the version before, may still hear it.
    pub kinds: Vec<String>,
}

/// How messages travel. Every process of a mesh must be given the same exchange and number of partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// The durable topic exchange, and the prefix of every queue's name.
    pub exchange: String,
    /// Queues per consumer, at least 1. Messages of one key meet in one of them, where a single consumer is active.
    pub partitions: u16,
}

impl Topology {
    /// The partition of a key: FNV-1a, because it must be the same in every process and every version.
    #[must_use]
    pub fn partition(&self, key: &str) -> u16 {
        let hash = key
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        // The remainder is below `partitions`, a u16.
        u16::try_from(hash % u32::from(self.partitions.max(1))).unwrap_or_default()
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

    /// Where the broker puts what it has delivered too often without an answer.
    #[must_use]
    pub fn dead_letter_queue(&self) -> String {
        format!("{}.dead", self.exchange)
    }

    /// The exchange that leads there.
    #[must_use]
    pub fn dead_letter_exchange(&self) -> String {
        format!("{}.dead", self.exchange)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_never_move() {
        let topology = Topology { exchange: "mesh".into(), partitions: 8 };
        let placed = ["alice", "bob", "carol", ""].map(|key| topology.partition(key));
        // FNV-1a of these keys, modulo 8: another hash would send a key's messages past those already queued.
        assert_eq!(placed, [7, 4, 2, 5]);
    }
}
