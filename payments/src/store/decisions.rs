//! Decisions as what reconciliation compares.

use async_trait::async_trait;
use ordermesh::{
    payments::v1::payment::{Outcome, Reason},
    reconciliation::v1::DecidedOrder,
};
use sea_orm::{
    DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select, entity::prelude::*,
};
use service::decisions::Source;
use storage::Database;

use crate::store::{
    entity::payment::{self, Column, Entity, Model},
    payments,
};

/// The table of payments.
#[derive(Debug, Clone, Copy)]
pub struct Payments;

/// Decisions about orders from this id on and before the other one, by their ids.
#[must_use]
pub fn in_range(from: Uuid, before: Uuid, limit: u64) -> Select<Entity> {
    let find = Entity::find().filter(Column::OrderId.gte(from)).filter(Column::OrderId.lt(before));
    find.order_by_asc(Column::OrderId).limit(limit)
}

/// The last order before this one about which was decided.
#[must_use]
pub fn last_before(id: Uuid) -> Select<Entity> {
    let find = Entity::find().select_only().column(Column::OrderId).filter(Column::OrderId.lt(id));
    find.order_by_desc(Column::OrderId).limit(1)
}

#[async_trait]
impl Source for Payments {
    async fn range(
        &self,
        database: &Database,
        from: Uuid,
        before: Uuid,
        limit: u64,
    ) -> Result<Vec<DecidedOrder>, DbErr> {
        let found = in_range(from, before, limit).all(database.reports()).await?;
        Ok(found.into_iter().map(decided).collect())
    }

    async fn some(&self, database: &Database, ids: &[Uuid]) -> Result<Vec<DecidedOrder>, DbErr> {
        let mut found = payments::find_all(database.read(), ids).await?;
        found.sort_unstable_by_key(|payment| payment.order_id);
        Ok(found.into_iter().map(decided).collect())
    }

    async fn last_before(&self, database: &Database, id: Uuid) -> Result<Option<Uuid>, DbErr> {
        last_before(id).into_tuple().one(database.read()).await
    }
}

fn decided(payment: Model) -> DecidedOrder {
    let outcome = match payment.outcome {
        payment::Outcome::Paid => Outcome::Paid,
        payment::Outcome::Rejected => Outcome::Rejected,
        payment::Outcome::Voided => Outcome::Voided,
    };
    let reason = payment.reason.map_or(Reason::Unspecified, |reason| match reason {
        payment::Reason::InsufficientFunds => Reason::InsufficientFunds,
        payment::Reason::AccountNotFound => Reason::AccountNotFound,
        payment::Reason::CurrencyMismatch => Reason::CurrencyMismatch,
        payment::Reason::UserRequested => Reason::UserRequested,
        payment::Reason::PaymentExpired => Reason::PaymentExpired,
    });
    DecidedOrder {
        order_id: payment.order_id.to_string(),
        user_id: payment.user_id,
        amount: payment.amount,
        currency_code: payment.currency_code,
        outcome: outcome.into(),
        reason: reason.into(),
        ledger_entry_id: payment.ledger_entry_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}
