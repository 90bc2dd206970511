//! A client that writes down what it calls and what it was answered, and holds every answer against the books at the end.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use ordermesh::{
    orders::v1::{CancelOrderRequest, CreateOrderRequest, ListOrdersRequest, Order, order},
    payments::v1::{
        Account, CreateAccountRequest, GetAccountRequest, LedgerEntry, ListLedgerEntriesRequest,
        TopUpAccountRequest, TopUpAccountResponse, ledger_entry,
    },
};
use tonic::{Code, Response, Status};
use world::{PATIENCE, eventually};

use super::site::{PAYMENTS, Site};
use crate::alone::{Orders, Payments};

/// What each order costs, and what a top-up brings: too little for all orders, so that some end unpaid.
const AMOUNT: i64 = 100;
const TOP_UP: i64 = 250;
/// Between two calls, so that a client that is refused does not fill its journal.
const PACE: Duration = Duration::from_millis(10);

/// What one client has called, by its keys.
pub(super) struct Journal {
    user: String,
    calls: Vec<Call>,
}

struct Call {
    key: String,
    what: What,
    /// The first answer, once there was one.
    answer: Option<Answer>,
}

#[derive(Clone)]
enum What {
    Open,
    TopUp,
    Place,
    Cancel { order_id: String },
}

#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Account(Account),
    ToppedUp(Box<TopUpAccountResponse>),
    Order(Box<Order>),
    Refused(Code),
}

impl Journal {
    pub(super) fn of(user: String) -> Self {
        let open = Call { key: "open".to_owned(), what: What::Open, answer: None };
        Self { user, calls: vec![open] }
    }

    /// Calls and calls: first again what was not answered, and then what is new.
    pub(super) async fn go_on(&mut self, mut orders: Orders, mut payments: Payments) -> Result<()> {
        loop {
            if !self.calls.iter().any(|call| call.answer.is_none()) {
                self.calls.push(self.next());
            }
            let user = &self.user;
            for call in self.calls.iter_mut().filter(|call| call.answer.is_none()) {
                let answered = call.make(user, &mut orders, &mut payments).await;
                if let Some((answer, _)) = known(answered).with_context(|| call.key.clone())? {
                    call.answer = Some(answer);
                }
                tokio::time::sleep(PACE).await;
            }
        }
    }

    /// Three orders, then a top-up, then the last order is cancelled.
    fn next(&self) -> Call {
        let at = self.calls.len();
        let what = match at % 5 {
            1 => What::TopUp,
            0 => match self.calls.iter().rev().find_map(Call::order) {
                Some(order) => What::Cancel { order_id: order.id.clone() },
                None => What::Place,
            },
            _ => What::Place,
        };
        Call { key: format!("key-{at}"), what, answer: None }
    }

    /// Makes every call again, with its key: what was answered has to be answered the same, and to have been done before.
    pub(super) async fn repeat(&mut self, site: &Site) -> Result<()> {
        let (mut orders, mut payments) = (site.orders()?, site.payments()?);
        for call in &mut self.calls {
            let made = eventually("an answer", PATIENCE, async || {
                let answered = call.make(&self.user, &mut orders, &mut payments).await;
                known(answered)?.context("nobody serves")
            });
            let (answer, replayed) = made.await?;
            match &call.answer {
                Some(before @ (Answer::Account(_) | Answer::ToppedUp(_) | Answer::Order(_))) => {
                    let key = &call.key;
                    ensure!(replayed, "{key} of {} was acknowledged and is lost: {before:?}", self.user);
                    ensure!(*before == answer, "{key}: {before:?} became {answer:?}");
                }
                Some(Answer::Refused(_)) => {}
                None => call.answer = Some(answer),
            }
        }
        Ok(())
    }

    /// Each order has ended, those that are FINISHED with one debit and the others with none; each top-up is one entry. There is nothing
    /// that nobody has called for.
    pub(super) async fn is_true(&self, site: &Site) -> Result<()> {
        let user_id = self.user.clone();
        let list = ListOrdersRequest { user_id: user_id.clone(), page_size: 1_000, ..Default::default() };
        let stored = site.orders()?.list_orders(list).await?.into_inner().orders;
        let list =
            ListLedgerEntriesRequest { user_id: user_id.clone(), page_size: 1_000, ..Default::default() };
        let entries = site.payments()?.list_ledger_entries(list).await?.into_inner().entries;
        let account = site.payments()?.get_account(GetAccountRequest { user_id }).await?.into_inner();

        let placed: Vec<&Order> = self.calls.iter().filter_map(Call::order).collect();
        let by_id: BTreeMap<&str, &Order> = stored.iter().map(|it| (it.id.as_str(), it)).collect();
        ensure!(stored.len() == placed.len(), "{} orders of {}", stored.len(), placed.len());
        for order in placed {
            let ended = by_id.get(order.id.as_str()).with_context(|| format!("{order:?} is lost"))?;
            is_debited(ended, &entries)?;
        }
        let top_ups: Vec<&str> = self.calls.iter().filter_map(Call::top_up).collect();
        let entered = entries.iter().filter(|entry| entry.r#type() == ledger_entry::Type::TopUp);
        let entered: Vec<&str> = entered.map(|entry| entry.id.as_str()).collect();
        ensure!(entered.len() == top_ups.len(), "{} top-ups of {}", entered.len(), top_ups.len());
        ensure!(top_ups.iter().all(|id| entered.contains(id)), "{top_ups:?} and {entered:?}");
        let sum: i64 = entries.iter().map(|entry| entry.amount).sum();
        ensure!(account.balance() == sum && sum >= 0, "{} instead of {sum}", account.balance());
        self.is_remembered(site).await
    }

    /// The request for the payment of an order has its id: payments remembers to have had it.
    async fn is_remembered(&self, site: &Site) -> Result<()> {
        let ids = self.calls.iter().filter_map(Call::order);
        let ids: Vec<String> = ids.map(|order| format!("'{}'", order.id.replace('-', ""))).collect();
        let (column, list) = (site.as_text("message_id"), ids.join(","));
        let sql = format!("SELECT COUNT(*) FROM inbox WHERE {column} IN ({list})");
        let remembered = if ids.is_empty() { 0 } else { site.number(PAYMENTS, &sql).await? };
        let orders = ids.len();
        ensure!(usize::try_from(remembered)? == orders, "{remembered} of {orders} requests are remembered");
        Ok(())
    }
}

fn is_debited(order: &Order, entries: &[LedgerEntry]) -> Result<()> {
    let debits: Vec<&LedgerEntry> = entries.iter().filter(|entry| entry.order_id == order.id).collect();
    match (order.status(), debits.as_slice()) {
        (order::Status::Finished, [debit]) if debit.id == order.ledger_entry_id => {
            ensure!(debit.amount == -order.amount && order.amount == AMOUNT, "{debit:?} for {order:?}");
        }
        (order::Status::Cancelled, []) => {}
        _ => bail!("{debits:?} for {order:?}"),
    }
    Ok(())
}

impl Call {
    async fn make(
        &self,
        user: &str,
        orders: &mut Orders,
        payments: &mut Payments,
    ) -> Result<(Answer, bool), Status> {
        let (user_id, request_id) = (user.to_owned(), self.key.clone());
        match &self.what {
            What::Open => {
                let account = Some(Account { user_id, ..Account::default() });
                let answer = payments.create_account(CreateAccountRequest { account, request_id }).await?;
                Ok(answered(answer, Answer::Account))
            }
            What::TopUp => {
                let request =
                    TopUpAccountRequest { user_id, amount: TOP_UP, request_id, ..Default::default() };
                let answer = payments.top_up_account(request).await?;
                Ok(answered(answer, |topped_up| Answer::ToppedUp(Box::new(topped_up))))
            }
            What::Place => {
                let order = Some(Order { user_id, amount: AMOUNT, ..Order::default() });
                let answer = orders.create_order(CreateOrderRequest { order, request_id }).await?;
                Ok(answered(answer, |order| Answer::Order(Box::new(order))))
            }
            What::Cancel { order_id } => {
                let order_id = order_id.clone();
                let request = CancelOrderRequest { order_id, request_id, ..CancelOrderRequest::default() };
                let answer = orders.cancel_order(request).await?;
                Ok(answered(answer, |order| Answer::Order(Box::new(order))))
            }
        }
    }

    /// The order that it has placed.
    fn order(&self) -> Option<&Order> {
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

fn answered<T>(answer: Response<T>, of: impl FnOnce(T) -> Answer) -> (Answer, bool) {
    let replayed = answer.metadata().get("idempotency-replayed").is_some_and(|value| value == "true");
    (of(answer.into_inner()), replayed)
}

/// The answer, or `None` when a repetition has to find it out.
fn known(answered: Result<(Answer, bool), Status>) -> Result<Option<(Answer, bool)>> {
    let status = match answered {
        Ok(answer) => return Ok(Some(answer)),
        Err(status) => status,
    };
    match status.code() {
        // An order that has ended is not cancelled.
        Code::FailedPrecondition => Ok(Some((Answer::Refused(status.code()), false))),
        Code::Unavailable | Code::Unknown | Code::DeadlineExceeded | Code::Aborted | Code::Cancelled => {
            Ok(None)
        }
        // There is no account yet: its opening was not answered.
        Code::NotFound => Ok(None),
        _ => Err(status).context("no crash answers so"),
    }
}

/// Whether all that is in the journals is true, within so long after a restart.
pub(super) async fn judge(site: &Site, journals: &mut [Journal], patience: Duration) -> Result<()> {
    for journal in journals.iter_mut() {
        journal.repeat(site).await?;
    }
    site.at_rest(patience).await?;
    for journal in journals.iter() {
        journal.is_true(site).await.with_context(|| journal.user.clone())?;
    }
    site.check().await
}
