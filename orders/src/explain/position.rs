//! How far the consumers have come, by the orders that were placed around one: each takes the messages of a partition in their order.

use chassis::clock::{Micros, moment_of};
use messaging::parked::note::{self, Model as Action};
use ordermesh::audit::v1::AuditEvent;
use service::{list::first_id, whereabouts::Whereabouts};
use storage::Failure;

use crate::store::{
    entity::order::Model as Order,
    neighbours::{self, MOST},
};

/// Orders that were placed within so long of one another may be published in another order, in microseconds.
const NEAR: Micros = 2_000_000;
/// A consumer that gets on commits a batch within 10 s, or says that it does not ([`messaging::health`]); a decision has its way too.
const MOVING: Micros = 15_000_000;

/// What the orders around one say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// One of its partition has ended that was asked about later: what has not come until then does not come any more.
    pub overtaken: bool,
    /// Whether one of its partition that was placed before it has ended lately.
    pub moving: bool,
    /// Orders of its partition that were placed before it and are not decided.
    pub before: i64,
    /// Those of every partition.
    pub before_in_all: i64,
    /// There are more than were counted.
    pub more: bool,
}

impl Position {
    /// That of an order whose message was written at `written`.
    ///
    /// # Errors
    /// As the database says.
    pub async fn of(
        whereabouts: &Whereabouts,
        order: &Order,
        written: Micros,
        now: Micros,
    ) -> Result<Self, Failure> {
        let (read, topology) = (whereabouts.database.read(), &whereabouts.topology);
        let asked = order.last_message();
        let undecided = neighbours::undecided_before(read, asked, order.id).await?;
        let ended = neighbours::ended_before(read, asked).await?;
        let later = neighbours::ended_after(read, first_id(written.saturating_add(NEAR))).await?;
        let own = topology.partition(&order.user_id);
        let is_own = |user: &String| topology.partition(user) == own;
        let before_in_all = count(undecided.len());
        Ok(Self {
            overtaken: later.iter().any(is_own),
            moving: ended.iter().any(|(user, at)| is_own(user) && now.saturating_sub(*at) < MOVING),
            before: count(undecided.iter().filter(|user| is_own(user)).count()),
            before_in_all,
            more: undecided.len() as u64 >= MOST,
        })
    }
}

/// When the message was written that payments was asked with last.
#[must_use]
pub fn asked(order: &Order) -> Micros {
    moment_of(order.last_message()).unwrap_or(order.create_time)
}

fn count(many: usize) -> i64 {
    i64::try_from(many).unwrap_or(i64::MAX)
}

/// Parked messages that somebody has discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discard {
    /// Whose they were: `orders` or `payments`.
    pub service: &'static str,
    /// By whom.
    pub operator: String,
    /// Why.
    pub reason: String,
    /// Which.
    pub filter: String,
    /// How many.
    pub affected: i64,
}

impl Discard {
    /// What operators have discarded at orders from then on, the last one first.
    ///
    /// # Errors
    /// As the database says.
    pub async fn at_orders(whereabouts: &Whereabouts, since: Micros) -> Result<Vec<Self>, Failure> {
        let noted = note::since(whereabouts.database.read(), "Discard", since, FEW).await?;
        let discard = |Action { operator, reason, filter, affected, .. }| Self {
            service: "orders",
            operator,
            reason: reason.unwrap_or_default(),
            filter,
            affected,
        };
        Ok(noted.into_iter().map(discard).collect())
    }

    /// The same, as the list of payments has it.
    #[must_use]
    pub fn at_payments(event: AuditEvent) -> Self {
        let AuditEvent { operator, reason, filter, affected, .. } = event;
        Self { service: "payments", operator, reason, filter, affected }
    }

    /// The same in words.
    #[must_use]
    pub fn sentence(&self) -> String {
        let Self { service, operator, reason, filter, affected } = self;
        let why = if reason.is_empty() { "without a reason".to_owned() } else { reason.clone() };
        format!("{operator} has discarded {affected} parked messages of {service} since ({filter}): {why}")
    }
}

/// Discards that are looked at: of more, the latest.
pub const FEW: u64 = 5;
