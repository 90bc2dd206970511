//! Two sides, compared: by digests first, and where these differ by ever smaller parts down to the orders.

use std::collections::BTreeMap;

use chassis::clock::{Micros, timestamp};
use ordermesh::{
    payments::v1::payment::Outcome,
    reconciliation::v1::{DecidedOrder, ListDecisionsRequest, ListDecisionsResponse},
};
use service::decisions::{Digest, MOST};
use uuid::Uuid;

use super::side::{Counted, Side};
use crate::store::differences::Kind;

/// Differences after which a range is left, by who has no reason to leave it earlier.
pub const MOST_FOUND: usize = 10_000;
/// A part that is not halved any further, in microseconds.
const SMALLEST: Micros = 2_000;

/// An order that the two sides have otherwise.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// The order.
    pub order_id: Uuid,
    /// What is wrong.
    pub kind: Kind,
    /// What orders has.
    pub orders: Option<DecidedOrder>,
    /// What payments has.
    pub payments: Option<DecidedOrder>,
}

/// What a range came to.
#[derive(Debug, Clone, Default)]
pub struct Compared {
    /// What the sides have otherwise.
    pub differences: Vec<Difference>,
    /// Decided orders of the range.
    pub orders: i64,
    /// When the last order before the range was placed, on either side.
    pub earlier: Option<Micros>,
    /// Which process of payments has answered.
    pub instance: String,
    /// Where the range was left: what was placed in it before this time is not compared.
    pub left_at: Option<Micros>,
}

/// Compares the orders that were placed from one time on and before the other, at most a minute later. After `most` differences the range is
/// left: what is earlier in it is compared another time.
///
/// # Errors
/// Why a side does not answer, for a person.
pub async fn range(
    orders: &dyn Side,
    payments: &dyn Side,
    from: Micros,
    until: Micros,
    most: usize,
) -> Result<Compared, String> {
    // Orders first: whatever it has ended, payments has decided before.
    let (own, theirs) = (orders.digest(from, until).await?, payments.digest(from, until).await?);
    let mut compared = Compared {
        differences: Vec::new(),
        orders: own.digest.count,
        earlier: own.earlier.max(theirs.earlier),
        instance: theirs.instance.clone(),
        left_at: None,
    };
    if !is_equal(&own, &theirs, payments).await? {
        (compared.differences, compared.left_at) = drill(orders, payments, from, until, most).await?;
    }
    Ok(compared)
}

/// Whether the sides have the same, but for decisions about orders that are NEW: these are on their way, or looked for by themselves.
async fn is_equal(own: &Counted, theirs: &Counted, payments: &dyn Side) -> Result<bool, String> {
    let mut digest: Digest = theirs.digest;
    if digest != own.digest {
        for ids in own.undecided.chunks(MOST) {
            let decided = payments.list(of(ids)).await?.decisions;
            decided.iter().for_each(|order| digest.remove(order));
        }
    }
    Ok(digest == own.digest)
}

async fn drill(
    orders: &dyn Side,
    payments: &dyn Side,
    from: Micros,
    until: Micros,
    most_found: usize,
) -> Result<(Vec<Difference>, Option<Micros>), String> {
    // The last one is the latest: what is left is what comes before one time.
    let (mut parts, mut found) = (vec![(from, until)], Vec::new());
    while let Some((from, until)) = parts.pop() {
        let (own, theirs) = (orders.digest(from, until).await?, payments.digest(from, until).await?);
        if is_equal(&own, &theirs, payments).await? {
            continue;
        }
        let most = i64::try_from(MOST).unwrap_or(i64::MAX);
        if own.digest.count.max(theirs.digest.count) > most && until - from > SMALLEST {
            let middle = from + (until - from) / 2_000 * 1_000;
            parts.extend([(from, middle), (middle, until)]);
            continue;
        }
        found.extend(differences(all(orders, from, until).await?, all(payments, from, until).await?));
        if found.len() >= most_found {
            break;
        }
    }
    Ok((found, parts.last().map(|(_, until)| *until)))
}

/// A request for these orders.
#[must_use]
pub fn of(ids: &[Uuid]) -> ListDecisionsRequest {
    let order_ids = ids.iter().map(ToString::to_string).collect();
    ListDecisionsRequest { order_ids, ..ListDecisionsRequest::default() }
}

async fn all(side: &dyn Side, from: Micros, until: Micros) -> Result<Vec<DecidedOrder>, String> {
    let (from, until) = (Some(timestamp(from)), Some(timestamp(until)));
    let mut request = ListDecisionsRequest { from, until, ..ListDecisionsRequest::default() };
    let mut orders = Vec::new();
    loop {
        let page = side.list(request.clone()).await?;
        orders.extend(page.decisions);
        if page.next_after_order_id.is_empty() {
            return Ok(orders);
        }
        request.after_order_id = page.next_after_order_id;
    }
}

/// The differences of these orders, at most [`MOST`], and the answer of payments without its orders.
///
/// # Errors
/// Why a side does not answer, for a person.
pub async fn these(
    orders: &dyn Side,
    payments: &dyn Side,
    ids: &[Uuid],
) -> Result<(Vec<Difference>, ListDecisionsResponse), String> {
    if ids.is_empty() {
        return Ok((Vec::new(), ListDecisionsResponse::default()));
    }
    let own = orders.list(of(ids)).await?.decisions;
    let mut theirs = payments.list(of(ids)).await?;
    Ok((differences(own, std::mem::take(&mut theirs.decisions)), theirs))
}

/// What two lists have otherwise, by id. An order that is not decided on either side is none.
#[must_use]
pub fn differences(orders: Vec<DecidedOrder>, payments: Vec<DecidedOrder>) -> Vec<Difference> {
    let mut pairs: BTreeMap<String, (Option<DecidedOrder>, Option<DecidedOrder>)> = BTreeMap::new();
    for order in orders {
        let id = order.order_id.clone();
        pairs.entry(id).or_default().0 = Some(order);
    }
    for decision in payments {
        let id = decision.order_id.clone();
        pairs.entry(id).or_default().1 = Some(decision);
    }
    let found = pairs.into_iter().filter_map(|(id, (orders, payments))| {
        let kind = kind(orders.as_ref(), payments.as_ref())?;
        Some(Difference { order_id: id.parse().ok()?, kind, orders, payments })
    });
    found.collect()
}

fn kind(orders: Option<&DecidedOrder>, payments: Option<&DecidedOrder>) -> Option<Kind> {
    let has_ended = |order: &DecidedOrder| order.outcome() != Outcome::Unspecified;
    match (orders, payments) {
        (Some(order), Some(_)) if !has_ended(order) => Some(Kind::NotApplied),
        (Some(order), Some(decision)) => (order != decision).then_some(Kind::Contradiction),
        (Some(order), None) => has_ended(order).then_some(Kind::DecisionLost),
        (None, Some(_)) => Some(Kind::OrderLost),
        (None, None) => None,
    }
}
