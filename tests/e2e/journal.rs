//! A client that writes down what it calls and what it was answered, and holds every answer against the books at the end.

mod judge;
mod way;

use std::{
    collections::{BTreeMap, BTreeSet},
    error::Error as _,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ordermesh::{
    orders::v1::{Order, order},
    payments::v1::{Account, GetAccountRequest, LedgerEntry, TopUpAccountResponse, ledger_entry},
};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use world::{PATIENCE, eventually};

pub(crate) use self::{
    judge::Judge,
    way::{Grpc, Way},
};

/// What each order costs, and what a top-up brings: too little for all orders, so that some end unpaid.
pub(crate) const AMOUNT: i64 = 100;
const TOP_UP: i64 = 250;
/// Between two calls, so that a client that is refused does not fill its journal.
const PACE: Duration = Duration::from_millis(10);
/// The same of a client that calls for minutes, each of whose calls the judge makes again; and how long it waits for an answer.
const EVEN_PACE: Duration = Duration::from_millis(50);
const ANSWER: Duration = Duration::from_secs(5);
/// So many calls of a journal are made again at once.
const AT_ONCE: usize = 8;

/// What one client has called, by its keys.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    pub(crate) user: String,
    pub(crate) calls: Vec<Call>,
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) key: String,
    pub(crate) what: What,
    /// The first answer, once there was one.
    pub(crate) answer: Option<Answer>,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Open,
    TopUp { amount: i64 },
    Place,
    Cancel { order_id: String },
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Account(Account),
    ToppedUp(Box<TopUpAccountResponse>),
    Order(Box<Order>),
    Refused(Code),
}

/// An answer, and whether it says that it is that of an earlier call with the key.
pub(crate) type Given = (Answer, bool);

impl Journal {
    pub(crate) fn of(user: String) -> Self {
        let open = Call { key: "open".to_owned(), what: What::Open, answer: None };
        Self { user, calls: vec![open] }
    }

    /// Calls and calls: first again what was not answered, and then what is new.
    pub(crate) async fn go_on(&mut self, way: Way) -> Result<()> {
        loop {
            let (user, call) = self.open();
            let given = call.attempt(user, &way).await?;
            call.write_down(given);
            sleep(PACE).await;
        }
    }

    /// The same at an even pace, and no longer than it is wanted. A call that is not answered soon is made again.
    pub(crate) async fn keep_on(&mut self, way: &Way, enough: &CancellationToken) -> Result<()> {
        while !enough.is_cancelled() {
            let (user, call) = self.open();
            let given = timeout(ANSWER, call.attempt(user, way)).await.unwrap_or(Ok(None))?;
            call.write_down(given);
            sleep(EVEN_PACE).await;
        }
        Ok(())
    }

    /// The user, and the call that is to be made now: the last one until it is answered, and then a new one.
    pub(crate) fn open(&mut self) -> (&str, &mut Call) {
        if self.calls.last().is_none_or(|call| call.answer.is_some()) {
            self.calls.push(self.next());
        }
        let last = self.calls.len() - 1;
        (&self.user, &mut self.calls[last])
    }

    /// Three orders, then the last order is cancelled, then a top-up.
    fn next(&self) -> Call {
        let at = self.calls.len();
        let what = match at % 5 {
            1 => What::TopUp { amount: TOP_UP },
            0 => match self.calls.iter().rev().find_map(Call::order) {
                Some(order) => What::Cancel { order_id: order.id.clone() },
                None => What::Place,
            },
            _ => What::Place,
        };
        Call { key: format!("key-{at}"), what, answer: None }
    }

    /// Adds calls that are still to be made, each with a key of its own, and returns them.
    pub(crate) fn add(&mut self, new: impl IntoIterator<Item = What>) -> &mut [Call] {
        let first = self.calls.len();
        let new = (first..).zip(new);
        self.calls.extend(new.map(|(at, what)| Call { key: format!("key-{at}"), what, answer: None }));
        &mut self.calls[first..]
    }

    /// Makes every call again, with its key: what was answered has to be answered the same, and to have been done before.
    async fn repeat(&mut self, way: &Way) -> Result<()> {
        let user = &self.user;
        let repeated = stream::iter(self.calls.iter_mut()).map(|call| call.repeat(user, way));
        repeated.buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
    }

    /// Each order has ended, those that are FINISHED with one debit and the others with none; each top-up is one entry. There is nothing
    /// that nobody has called for.
    async fn is_true(&self, judge: &Judge) -> Result<()> {
        let stored = judge.calls.all_orders(&self.user).await?;
        let entries = judge.calls.all_entries(&self.user).await?;
        let account = GetAccountRequest { user_id: self.user.clone() };
        let account = judge.calls.payments.clone().get_account(account).await?.into_inner();

        let placed: Vec<&Order> = self.calls.iter().filter_map(Call::order).collect();
        let by_id: BTreeMap<&str, &Order> = stored.iter().map(|it| (it.id.as_str(), it)).collect();
        let mut debits: BTreeMap<&str, Vec<&LedgerEntry>> = BTreeMap::new();
        for entry in &entries {
            debits.entry(entry.order_id.as_str()).or_default().push(entry);
        }
        ensure!(stored.len() == placed.len(), "{} orders of {}", stored.len(), placed.len());
        for order in placed {
            let ended = by_id.get(order.id.as_str()).with_context(|| format!("{order:?} is lost"))?;
            is_debited(ended, debits.get(order.id.as_str()).map(Vec::as_slice).unwrap_or_default())?;
        }
        let top_ups: Vec<&str> = self.calls.iter().filter_map(Call::top_up).collect();
        let entered = entries.iter().filter(|entry| entry.r#type() == ledger_entry::Type::TopUp);
        let entered: BTreeSet<&str> = entered.map(|entry| entry.id.as_str()).collect();
        ensure!(entered.len() == top_ups.len(), "{} top-ups of {}", entered.len(), top_ups.len());
        ensure!(top_ups.iter().all(|id| entered.contains(id)), "{top_ups:?} and {entered:?}");
        let sum: i64 = entries.iter().map(|entry| entry.amount).sum();
        ensure!(account.balance() == sum && sum >= 0, "{} instead of {sum}", account.balance());
        judge.are_remembered(self.calls.iter().filter_map(Call::order)).await
    }
}

fn is_debited(order: &Order, debits: &[&LedgerEntry]) -> Result<()> {
    match (order.status(), debits) {
        (order::Status::Finished, [debit]) if debit.id == order.ledger_entry_id => {
            ensure!(debit.amount == -order.amount && order.amount == AMOUNT, "{debit:?} for {order:?}");
        }
        (order::Status::Cancelled, []) => {}
        _ => bail!("{debits:?} for {order:?}"),
    }
    Ok(())
}

impl Call {
    /// Makes it again, until it is answered.
    async fn repeat(&mut self, user: &str, way: &Way) -> Result<()> {
        let (answer, replayed) = self.answered(user, way).await?;
        match &self.answer {
            Some(before @ (Answer::Account(_) | Answer::ToppedUp(_) | Answer::Order(_))) => {
                let key = &self.key;
                ensure!(replayed, "{key} of {user} was acknowledged and is lost: {before:?}");
                ensure!(*before == answer, "{key}: {before:?} became {answer:?}");
            }
            Some(Answer::Refused(_)) => {}
            None => self.answer = Some(answer),
        }
        Ok(())
    }

    /// Makes it until it is answered, and writes the answer down, as whoever has to know the outcome does.
    pub(crate) async fn make(&mut self, user: &str, way: &Way) -> Result<()> {
        let given = self.answered(user, way).await?;
        self.write_down(Some(given));
        Ok(())
    }

    async fn answered(&self, user: &str, way: &Way) -> Result<Given> {
        eventually("an answer", PATIENCE, async || self.attempt(user, way).await?.context("nobody serves"))
            .await
    }

    /// Makes it: what was answered, or `None` when a repetition has to find it out.
    pub(crate) async fn attempt(&self, user: &str, way: &Way) -> Result<Option<Given>> {
        let status = match way.make(user, &self.key, &self.what).await {
            Ok(given) => return Ok(Some(given)),
            Err(status) => status,
        };
        match (status.code(), &self.what) {
            // An order that has ended is not cancelled.
            (Code::FailedPrecondition, What::Cancel { .. }) => {
                Ok(Some((Answer::Refused(status.code()), false)))
            }
            // There is no account yet: its opening was not answered.
            (Code::NotFound, What::TopUp { .. }) => Ok(None),
            (
                Code::Unavailable
                | Code::Unknown
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::Cancelled
                | Code::ResourceExhausted,
                _,
            ) => Ok(None),
            // Nobody answered so: the connection has ended.
            _ if status.source().is_some() => Ok(None),
            _ => Err(status).with_context(|| format!("no fault answers {} of {user} so", self.key)),
        }
    }

    /// The first answer stays.
    pub(crate) fn write_down(&mut self, given: Option<Given>) {
        if let (None, Some((answer, _))) = (&self.answer, given) {
            self.answer = Some(answer);
        }
    }

    /// The order that it has placed.
    pub(crate) fn order(&self) -> Option<&Order> {
        match (&self.what, &self.answer) {
            (What::Place, Some(Answer::Order(order))) => Some(order),
            _ => None,
        }
    }

    /// The entry of the ledger that it has made.
    fn top_up(&self) -> Option<&str> {
        match &self.answer {
            Some(Answer::ToppedUp(topped_up)) => topped_up.entry.as_ref().map(|entry| entry.id.as_str()),
            _ => None,
        }
    }
}
