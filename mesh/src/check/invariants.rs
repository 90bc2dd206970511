//! The invariants, each a function from the books to the offenders.

use std::collections::{BTreeMap, HashMap, HashSet};

use ordermesh::{
    messaging::v1::MessagingStatus,
    orders::v1::{Order, order},
    payments::v1::{LedgerEntry, Payment, ledger_entry, payment},
};

use super::books::Books;

/// How long after its `expire_time` an order may still be NEW, in microseconds: asking payments again takes 30 s.
const OVERDUE: i64 = 120_000_000;

/// What came of one invariant.
#[derive(Debug)]
pub(super) struct Finding {
    /// As ARCHITECTURE.md numbers it.
    pub(super) id: &'static str,
    pub(super) rule: &'static str,
    /// What breaks it.
    pub(super) offenders: Vec<String>,
}

/// The debits of each order.
type Debits<'b> = HashMap<&'b str, Vec<&'b LedgerEntry>>;

/// Verifies everything that can be seen at rest. `now` is in microseconds since the Unix epoch.
pub(super) fn findings(books: &Books, now: i64) -> Vec<Finding> {
    let mut debits: Debits<'_> = HashMap::new();
    for entry in
        books.entries.values().flatten().filter(|entry| entry.r#type() == ledger_entry::Type::OrderDebit)
    {
        debits.entry(&entry.order_id).or_default().push(entry);
    }
    let finding = |id, rule, offenders| Finding { id, rule, offenders };
    vec![
        finding("I1", "top-ups minus FINISHED orders are the balances", sums(books)),
        finding("I2", "every ledger is gapless and adds up to its balance", ledgers(books)),
        finding("I3", "no balance was ever below zero", below_zero(books)),
        finding("I4", "FINISHED, exactly when one debit pays it", finished(books, &debits)),
        finding("I5", "CANCELLED, and never debited", cancelled(books, &debits)),
        finding("I6", "one terminal event, the last", events(books)),
        finding("I7", "nothing is NEW long past its expiry", overdue(books, now)),
        finding("I8", "insufficient funds prove themselves", proofs(books)),
        finding("I9", "one key, one entry", keys(books)),
        finding("I11", "a walk through the pages repeats nothing", walk(books)),
        finding("I13", "all postings sum to zero", postings(books)),
        finding("I15", "nothing waits, nothing is parked", messages(books)),
    ]
}

fn sums(books: &Books) -> Vec<String> {
    let mut sums: BTreeMap<&str, (i128, i128)> = BTreeMap::new();
    for account in &books.accounts {
        let (expected, balances) = sums.entry(&account.currency_code).or_default();
        *balances += i128::from(account.balance());
        for entry in books.entries.get(&account.user_id).into_iter().flatten() {
            *expected +=
                if entry.r#type() == ledger_entry::Type::TopUp { entry.amount.into() } else { 0_i128 };
        }
    }
    for order in books.orders.iter().filter(|order| order.status() == order::Status::Finished) {
        sums.entry(&order.currency_code).or_default().0 -= i128::from(order.amount);
    }
    let unequal = sums.into_iter().filter(|(_, (expected, balances))| expected != balances);
    unequal.map(|(code, (expected, balances))| format!("{code}: {balances} instead of {expected}")).collect()
}

fn ledgers(books: &Books) -> Vec<String> {
    let mut offenders = Vec::new();
    for account in &books.accounts {
        let mut balance = 0_i128;
        let mut last = 0;
        for entry in books.entries.get(&account.user_id).into_iter().flatten() {
            balance += i128::from(entry.amount);
            if entry.sequence != last + 1 {
                offenders.push(format!("{}: entry {} follows entry {last}", account.user_id, entry.sequence));
            }
            if i128::from(entry.balance_after()) != balance {
                let (at, after) = (entry.sequence, entry.balance_after());
                offenders.push(format!("{}: {after} after entry {at} instead of {balance}", account.user_id));
            }
            last = entry.sequence;
        }
        if i128::from(account.balance()) != balance || account.version() != last {
            let (is, version) = (account.balance(), account.version());
            let text = format!(
                "{}: balance {is} at version {version}, entries say {balance} at {last}",
                account.user_id
            );
            offenders.push(text);
        }
    }
    offenders
}

fn below_zero(books: &Books) -> Vec<String> {
    let below = books.entries.values().flatten().filter(|entry| entry.balance_after() < 0);
    below
        .map(|entry| format!("{}: {} after entry {}", entry.user_id, entry.balance_after(), entry.sequence))
        .collect()
}

fn finished(books: &Books, debits: &Debits<'_>) -> Vec<String> {
    let currencies: HashMap<&str, &str> = books
        .accounts
        .iter()
        .map(|account| (account.user_id.as_str(), account.currency_code.as_str()))
        .collect();
    let mut offenders = Vec::new();
    for order in books.orders.iter().filter(|order| order.status() == order::Status::Finished) {
        let paid = books.payments.get(&order.id).map(Payment::outcome);
        let fits = |entry: &&&LedgerEntry| {
            entry.id == order.ledger_entry_id
                && (&entry.user_id, -entry.amount) == (&order.user_id, order.amount)
                && currencies.get(entry.user_id.as_str()) == Some(&order.currency_code.as_str())
        };
        let all = debits.get(order.id.as_str()).map(Vec::as_slice).unwrap_or_default();
        if all.len() != 1 || all.iter().filter(fits).count() != 1 {
            offenders.push(format!("order {}: {} debits", order.id, all.len()));
        }
        if paid != Some(payment::Outcome::Paid) {
            let decision = paid.map_or("none", |paid| paid.as_str_name());
            offenders.push(format!("order {}: the decision is {decision}", order.id));
        }
    }
    let status: HashMap<&str, order::Status> =
        books.orders.iter().map(|order| (order.id.as_str(), order.status())).collect();
    let strays = debits.keys().filter(|id| !matches!(status.get(**id), Some(order::Status::Finished)));
    offenders.extend(strays.map(|id| {
        let is = status.get(id).map_or("there is no such order", |status| status.as_str_name());
        format!("order {id}: debited, and {is}")
    }));
    offenders
}

fn cancelled(books: &Books, debits: &Debits<'_>) -> Vec<String> {
    let cancelled = books.orders.iter().filter(|order| order.status() == order::Status::Cancelled);
    let undecided = |order: &&Order| {
        let payment = books.payments.get(&order.id);
        let decided = payment.is_some_and(|payment| payment.reason == order.cancel_reason);
        debits.contains_key(order.id.as_str()) || !decided
    };
    cancelled
        .filter(undecided)
        .map(|order| format!("order {}: debited, or decided otherwise", order.id))
        .collect()
}

fn events(books: &Books) -> Vec<String> {
    let broken = books.orders.iter().filter(|order| {
        let events: Vec<&Order> = books
            .events
            .get(&order.id)
            .into_iter()
            .flatten()
            .filter_map(|event| event.order.as_ref())
            .collect();
        let ends = events.iter().filter(|event| event.status() != order::Status::New).count();
        let gapless = (1..).zip(&events).all(|(version, event)| event.version == version);
        let ended = order.status() != order::Status::New;
        !gapless || events.last() != Some(order) || ends != usize::from(ended)
    });
    broken.map(|order| format!("order {}: its events do not lead to it", order.id)).collect()
}

fn overdue(books: &Books, now: i64) -> Vec<String> {
    let late = books.orders.iter().filter(|order| {
        let expire_time = order.expire_time.map_or(i64::MAX, |at| at.seconds.saturating_mul(1_000_000));
        order.status() == order::Status::New && now.saturating_sub(expire_time) > OVERDUE
    });
    late.map(|order| format!("order {}", order.id)).collect()
}

fn proofs(books: &Books) -> Vec<String> {
    let rejected = books.payments.values();
    let rejected = rejected.filter(|payment| payment.reason() == payment::Reason::InsufficientFunds);
    let unproven = rejected.filter(|payment| {
        let version = payment.account_version();
        let entries = books.entries.get(&payment.user_id).map(Vec::as_slice).unwrap_or_default();
        let was = entries.iter().find(|entry| entry.sequence == version).map(|entry| entry.balance_after());
        let was = if version == 0 { Some(0) } else { was };
        payment.balance_observed >= Some(payment.amount) || was != payment.balance_observed
    });
    unproven.map(|payment| format!("payment of order {}", payment.order_id)).collect()
}

fn keys(books: &Books) -> Vec<String> {
    let keyed = books.entries.values().flatten().filter(|entry| !entry.request_id.is_empty());
    let mut seen = HashSet::new();
    let again = keyed.filter(|entry| !seen.insert((&entry.user_id, &entry.request_id)));
    again.map(|entry| format!("{}: entry {} repeats a key", entry.user_id, entry.sequence)).collect()
}

fn walk(books: &Books) -> Vec<String> {
    let pairs = books.orders.windows(2).filter(|pair| pair[0].id <= pair[1].id);
    pairs.map(|pair| format!("order {} follows {}", pair[1].id, pair[0].id)).collect()
}

fn postings(books: &Books) -> Vec<String> {
    let mut offenders: Vec<String> = Vec::new();
    for entry in books.entries.values().flatten() {
        let counter = match entry.r#type() {
            ledger_entry::Type::TopUp if entry.amount > 0 => "system:cash-in",
            ledger_entry::Type::OrderDebit if entry.amount < 0 => "system:order-revenue",
            _ => "",
        };
        if entry.counter_account != counter {
            offenders.push(format!("{}: entry {} is posted wrongly", entry.user_id, entry.sequence));
        }
    }
    for sum in &books.report.currencies {
        let rest = i128::from(sum.top_ups) - i128::from(sum.debits) - i128::from(sum.balances);
        if rest != 0 {
            offenders.push(format!("{}: the postings sum to {rest}", sum.currency_code));
        }
    }
    offenders
}

fn messages(books: &Books) -> Vec<String> {
    let waits = |(service, status): &(&str, MessagingStatus)| {
        let (pending, unroutable, parked) = (status.outbox_pending, status.outbox_unroutable, status.parked);
        let (later, dead) = (status.held + status.redriven + status.waiting, status.dead_letters);
        let any = [pending, unroutable, parked, later, dead].iter().any(|count| *count != 0);
        any.then(|| {
            format!(
                "{service}: {pending} pending, {unroutable} unroutable, {parked} parked, {later} held, redriven or \
                 waiting, {dead} dead letters on the broker"
            )
        })
    };
    books.messages.iter().filter_map(waits).collect()
}
