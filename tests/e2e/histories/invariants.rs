//! What must hold of both databases once a history has come to rest.

use std::collections::HashMap;

use anyhow::{Context as _, Result, ensure};
use orders::store::entity::order::{CancelReason, Model as Order, Status};
use payments::store::entity::{
    account,
    ledger::{self, EntryType},
    payment::{self, Outcome, Reason},
};
use sea_orm::{ColumnTrait as _, EntityTrait as _, QueryFilter as _, QueryOrder as _};
use uuid::Uuid;

use super::parts::Parts;

pub(super) async fn hold(parts: &Parts) -> Result<()> {
    let orders = parts.all_orders().await?;
    let payments =
        payment::Entity::find().filter(payment::Column::OrderId.is_in(parts.placed.iter().copied()));
    let payments: HashMap<Uuid, payment::Model> = payments
        .all(parts.payments.read())
        .await?
        .into_iter()
        .map(|payment| (payment.order_id, payment))
        .collect();
    let mut debits: HashMap<Uuid, ledger::Model> = HashMap::new();
    for user in (0..3).map(|user| parts.user(user)) {
        let entries = ledger(parts, &user, &orders).await?;
        let mine = orders.iter().filter(|order| order.user_id == user);
        proofs(&entries, mine, &payments)?;
        debits.extend(entries.into_iter().filter_map(|entry| Some((entry.order_id?, entry))));
    }
    for order in &orders {
        ends(order, payments.get(&order.id), debits.get(&order.id)).with_context(|| format!("{order:?}"))?;
    }
    Ok(())
}

/// I1, I2, I3: the ledger of an account is whole, and adds up to what came in and what was paid.
async fn ledger(parts: &Parts, user: &str, orders: &[Order]) -> Result<Vec<ledger::Model>> {
    let find = ledger::Entity::find().filter(ledger::Column::UserId.eq(user));
    let entries = find.order_by_asc(ledger::Column::Sequence).all(parts.payments.read()).await?;
    let account = account::Entity::find_by_id(user).one(parts.payments.read()).await?;
    let (balance, version) = account.map_or((0, 0), |account| (account.balance, account.version));
    let mut running = 0;
    for (at, entry) in (1..).zip(&entries) {
        running += entry.amount;
        ensure!(entry.sequence == at && entry.balance_after == running && running >= 0, "{user}: {entry:?}");
        ensure!((entry.entry_type == EntryType::TopUp) == (entry.amount > 0), "{user}: {entry:?}");
    }
    ensure!(running == balance && i64::try_from(entries.len())? == version, "{user}: {running} of {balance}");
    let finished = orders.iter().filter(|order| order.user_id == user && order.status == Status::Finished);
    let spent: i64 = finished.map(|order| order.amount).sum();
    let topped_up = parts.topped_up.get(user).copied().unwrap_or_default();
    ensure!(
        topped_up - spent == balance,
        "{user}: {topped_up} came in, {spent} was spent, {balance} is left"
    );
    Ok(entries)
}

/// I8: a rejection proves itself by the ledger.
fn proofs<'o>(
    entries: &[ledger::Model],
    orders: impl Iterator<Item = &'o Order>,
    payments: &HashMap<Uuid, payment::Model>,
) -> Result<()> {
    for payment in orders.filter_map(|order| payments.get(&order.id)) {
        if payment.reason == Some(Reason::InsufficientFunds) {
            let observed = payment.balance_observed.context("a rejection has its proof")?;
            let version = payment.account_version.context("a rejection has its proof")?;
            let after = |sequence: i64| entries.iter().find(|entry| entry.sequence == sequence);
            let was = if version == 0 { Some(0) } else { after(version).map(|entry| entry.balance_after) };
            ensure!(was == Some(observed) && observed < payment.amount, "{payment:?}: it was {was:?}");
        }
    }
    Ok(())
}

/// I4, I5, I7, I10: an order has ended as its payment was decided: with one debit and FINISHED, or with none and CANCELLED.
fn ends(order: &Order, payment: Option<&payment::Model>, debit: Option<&ledger::Model>) -> Result<()> {
    ensure!(order.status != Status::New, "still NEW");
    let payment = payment.context("no decision")?;
    match (order.status, payment.outcome) {
        (Status::Finished, Outcome::Paid) => {
            let debit = debit.context("no debit")?;
            ensure!(debit.amount == -order.amount && debit.user_id == order.user_id, "{debit:?}");
            ensure!(
                Some(debit.id) == order.ledger_entry_id && order.ledger_entry_id == payment.ledger_entry_id
            );
        }
        (Status::Cancelled, Outcome::Rejected | Outcome::Voided) => {
            ensure!(debit.is_none(), "{debit:?}");
            let requested = order.cancel_reason == Some(CancelReason::UserRequested);
            ensure!(!requested || order.cancel_request_time.is_some(), "nobody asked for it");
            ensure!(requested == (payment.reason == Some(Reason::UserRequested)), "{payment:?}");
        }
        _ => anyhow::bail!("{payment:?}"),
    }
    let versions: Vec<i64> = order.versions().iter().map(|version| version.version).collect();
    ensure!(versions == (1..=order.version).collect::<Vec<_>>(), "versions {versions:?}");
    Ok(())
}
