//! What the broker says of the queues of the mesh.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::broker::Depth;

/// What was said of a queue is shown for so long: the broker is asked once a second, unless it is away.
const FRESH: Duration = Duration::from_secs(10);

/// What the broker said last.
#[derive(Debug, Default)]
pub(super) enum Queues {
    /// Nothing yet.
    #[default]
    Unknown,
    /// The broker within a process has none: what is not acknowledged is in the outbox.
    Absent,
    /// The depths by the names of the queues, as they were after the broker was asked.
    Seen { asked: Instant, depths: BTreeMap<String, Depth> },
}

impl Queues {
    /// What was said of the queue with this name; `None` where that was not lately.
    pub(super) fn depth(&self, name: &str) -> Option<Depth> {
        match self {
            Self::Seen { asked, depths } if asked.elapsed() < FRESH => depths.get(name).copied(),
            Self::Seen { .. } | Self::Unknown | Self::Absent => None,
        }
    }

    /// Whether these were empty when the broker was asked after that moment. A queue that is missing holds nothing.
    pub(super) fn are_empty(&self, names: impl IntoIterator<Item = String>, since: Instant) -> bool {
        match self {
            Self::Unknown => false,
            Self::Absent => true,
            Self::Seen { asked, depths } => {
                let holds = |name: String| depths.get(&name).is_some_and(|depth| depth.messages > 0);
                *asked > since && !names.into_iter().any(holds)
            }
        }
    }
}
