//! Orders as what reconciliation compares.

use async_trait::async_trait;
use ordermesh::{
    payments::v1::payment::{Outcome, Reason},
    reconciliation::v1::DecidedOrder,
};
use sea_orm::{
    DbErr, EntityTrait as _, FromQueryResult, QueryFilter as _, QueryOrder as _, QuerySelect as _, Select,
    Statement, entity::prelude::*,
};
use service::decisions::Source;
use storage::{Database, rows};

use crate::store::entity::order::{CancelReason, Column, Entity, Status};

/// The table of orders.
#[derive(Debug, Clone, Copy)]
pub struct Orders;

/// The columns of an order that matter.
#[derive(Debug, Clone, FromQueryResult)]
struct Row {
    id: Uuid,
    user_id: String,
    amount: i64,
    currency_code: String,
    status: Status,
    cancel_reason: Option<CancelReason>,
    ledger_entry_id: Option<Uuid>,
}

const COLUMNS: [Column; 7] = [
    Column::Id,
    Column::UserId,
    Column::Amount,
    Column::CurrencyCode,
    Column::Status,
    Column::CancelReason,
    Column::LedgerEntryId,
];

/// Orders from this id on and before the other one, by their ids.
#[must_use]
pub fn in_range(from: Uuid, before: Uuid, limit: u64) -> Select<Entity> {
    let find = Entity::find().select_only().columns(COLUMNS);
    find.filter(Column::Id.gte(from)).filter(Column::Id.lt(before)).order_by_asc(Column::Id).limit(limit)
}

/// The ids of orders behind `after` and before `before` that are still NEW, in their order.
#[must_use]
pub fn new_in_range(after: Uuid, before: Uuid, limit: u64) -> Select<Entity> {
    let find = Entity::find().select_only().column(Column::Id).filter(Column::Status.eq(Status::New));
    find.filter(Column::Id.gt(after)).filter(Column::Id.lt(before)).order_by_asc(Column::Id).limit(limit)
}

#[async_trait]
impl Source for Orders {
    async fn range(
        &self,
        database: &Database,
        from: Uuid,
        before: Uuid,
        limit: u64,
    ) -> Result<Vec<DecidedOrder>, DbErr> {
        let find = in_range(from, before, limit).into_model::<Row>();
        Ok(find.all(database.reports()).await?.into_iter().map(decided).collect())
    }

    async fn some(&self, database: &Database, ids: &[Uuid]) -> Result<Vec<DecidedOrder>, DbErr> {
        let (read, backend) = (database.read(), database.backend());
        let names: Vec<&str> = COLUMNS.iter().map(|column| column.as_str()).collect();
        let mut found = Vec::new();
        for run in rows::statements(ids, |_| 37) {
            let table = rows::table(backend, "requested", &["uuid"], run.iter().map(|id| [(*id).into()]))?;
            let sql =
                format!("SELECT {} FROM orders WHERE {} ORDER BY id", names.join(", "), table.has("id"));
            let find = Statement::from_sql_and_values(backend, sql, table.values);
            found.extend(Row::find_by_statement(find).all(read).await?);
        }
        found.sort_unstable_by_key(|order| order.id);
        Ok(found.into_iter().map(decided).collect())
    }

    async fn last_before(&self, database: &Database, id: Uuid) -> Result<Option<Uuid>, DbErr> {
        let find = Entity::find().select_only().column(Column::Id).filter(Column::Id.lt(id));
        find.order_by_desc(Column::Id).into_tuple().one(database.read()).await
    }
}

/// Orders behind `after` and placed before `before` that are still NEW, by their ids.
///
/// # Errors
/// As the database says.
pub async fn undecided(
    database: &Database,
    after: Uuid,
    before: Uuid,
    limit: u64,
) -> Result<Vec<Uuid>, DbErr> {
    new_in_range(after, before, limit).into_tuple().all(database.read()).await
}

fn decided(order: Row) -> DecidedOrder {
    let outcome = match (order.status, order.cancel_reason) {
        (Status::New, _) => Outcome::Unspecified,
        (Status::Finished, _) => Outcome::Paid,
        (Status::Cancelled, Some(CancelReason::UserRequested | CancelReason::PaymentExpired)) => {
            Outcome::Voided
        }
        (Status::Cancelled, _) => Outcome::Rejected,
    };
    let reason = order.cancel_reason.map_or(Reason::Unspecified, |reason| match reason {
        CancelReason::InsufficientFunds => Reason::InsufficientFunds,
        CancelReason::AccountNotFound => Reason::AccountNotFound,
        CancelReason::CurrencyMismatch => Reason::CurrencyMismatch,
        CancelReason::UserRequested => Reason::UserRequested,
        CancelReason::PaymentExpired => Reason::PaymentExpired,
    });
    DecidedOrder {
        order_id: order.id.to_string(),
        user_id: order.user_id,
        amount: order.amount,
        currency_code: order.currency_code,
        outcome: outcome.into(),
        reason: reason.into(),
        ledger_entry_id: order.ledger_entry_id.map(|id| id.to_string()).unwrap_or_default(),
    }
}
