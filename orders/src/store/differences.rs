//! What orders and payments have stored otherwise, as reconciliation has found it: also what was healed.

use std::collections::BTreeMap;

use sea_orm::{
    ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _, Statement,
    Value, entity::prelude::*,
};
use storage::{Transaction, rows};

/// What is wrong; the numbers are those of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum Kind {
    /// Payments has decided, and the order is NEW.
    NotApplied = 1,
    /// The order has ended, and payments knows no decision.
    DecisionLost = 2,
    /// Payments has decided, and there is no such order.
    OrderLost = 3,
    /// The order has ended otherwise than payments has decided.
    Contradiction = 4,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::NotApplied, Self::DecisionLost, Self::OrderLost, Self::Contradiction];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotApplied => "not_applied",
            Self::DecisionLost => "decision_lost",
            Self::OrderLost => "order_lost",
            Self::Contradiction => "contradiction",
        }
    }

    /// Whether a message can heal it.
    #[must_use]
    pub const fn can_heal(self) -> bool {
        matches!(self, Self::NotApplied | Self::DecisionLost)
    }
}

/// A difference.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "reconciliation_differences")]
pub struct Model {
    /// The order.
    #[sea_orm(primary_key, auto_increment = false)]
    pub order_id: Uuid,
    /// What is wrong.
    pub kind: Kind,
    /// What orders has, an encoded `ordermesh.reconciliation.v1.DecidedOrder`.
    pub orders_has: Option<Vec<u8>>,
    /// What payments has, likewise.
    pub payments_has: Option<Vec<u8>>,
    /// In microseconds since the Unix epoch.
    pub find_time: i64,
    /// When it was gone, in microseconds since the Unix epoch.
    pub heal_time: Option<i64>,
    /// How often it was tried to heal it.
    pub heal_attempts: i32,
    /// When that is tried again, in microseconds since the Unix epoch.
    pub next_heal_time: Option<i64>,
    /// The message by which it was tried last.
    pub message_id: Option<Uuid>,
}

impl ActiveModelBehavior for ActiveModel {}

/// Keeps what was found, and returns the orders that were not there before. What was healed before and is there again begins anew.
///
/// # Errors
/// As the database says.
pub async fn record(transaction: &Transaction, found: &[Model]) -> Result<Vec<Uuid>, DbErr> {
    for run in found.chunks(100) {
        let ids = run.iter().map(|difference| difference.order_id);
        let again = Entity::delete_many().filter(Column::OrderId.is_in(ids));
        again.filter(Column::HealTime.is_not_null()).exec(transaction).await?;
    }
    rows::insert_new(transaction, found).await
}

/// Differences behind `after` that are there, or that are healed, by the ids of their orders.
///
/// # Errors
/// As the database says.
pub async fn page(
    connection: &impl ConnectionTrait,
    healed: bool,
    after: Uuid,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let state = if healed { Column::HealTime.is_not_null() } else { Column::HealTime.is_null() };
    let find = Entity::find().filter(state).filter(Column::OrderId.gt(after));
    find.order_by_asc(Column::OrderId).limit(limit).all(connection).await
}

/// What differs of an order, unless it is healed.
///
/// # Errors
/// As the database says.
pub async fn find(connection: &impl ConnectionTrait, order_id: Uuid) -> Result<Option<Model>, DbErr> {
    Entity::find_by_id(order_id).filter(Column::HealTime.is_null()).one(connection).await
}

/// How many there are of each kind that are not healed.
///
/// # Errors
/// As the database says.
pub async fn counts(connection: &impl ConnectionTrait) -> Result<BTreeMap<Kind, i64>, DbErr> {
    let find = Entity::find().select_only().column(Column::Kind).column_as(Column::OrderId.count(), "count");
    let find = find.filter(Column::HealTime.is_null()).group_by(Column::Kind);
    Ok(find.into_tuple::<(Kind, i64)>().all(connection).await?.into_iter().collect())
}

const UPDATE: &str = "UPDATE reconciliation_differences SET kind = $1, orders_has = $2, payments_has = $3, heal_time = $4, \
     heal_attempts = $5, next_heal_time = $6, message_id = $7 WHERE order_id = $8 AND heal_time IS NULL";

/// Writes down what has become of differences that are there.
///
/// # Errors
/// As the database says.
pub async fn update(transaction: &Transaction, changed: &[Model]) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    for difference in changed {
        let difference = difference.clone();
        let values: [Value; 8] = [
            (difference.kind as i16).into(),
            difference.orders_has.into(),
            difference.payments_has.into(),
            difference.heal_time.into(),
            difference.heal_attempts.into(),
            difference.next_heal_time.into(),
            difference.message_id.into(),
            difference.order_id.into(),
        ];
        transaction.execute_raw(Statement::from_sql_and_values(backend, UPDATE, values)).await?;
    }
    Ok(())
}

const FORGET: &str = "DELETE FROM reconciliation_differences WHERE order_id IN
     (SELECT order_id FROM reconciliation_differences WHERE heal_time < $1 LIMIT 1000)";

/// Forgets what was healed before this time, a thousand of it at most.
///
/// # Errors
/// As the database says.
pub async fn forget(transaction: &Transaction, before: i64) -> Result<(), DbErr> {
    let backend = transaction.get_database_backend();
    transaction.execute_raw(Statement::from_sql_and_values(backend, FORGET, [before.into()])).await.map(drop)
}

/// Makes it due at once to heal these differences, or all of them when none are named, and returns how many that concerns.
///
/// # Errors
/// As the database says.
pub async fn heal_now(transaction: &Transaction, ids: &[Uuid]) -> Result<u64, DbErr> {
    let due = Entity::update_many().col_expr(Column::NextHealTime, Expr::value(0_i64));
    let healable = Kind::ALL.into_iter().filter(|kind| kind.can_heal());
    let mut due = due.filter(Column::HealTime.is_null()).filter(Column::Kind.is_in(healable));
    if !ids.is_empty() {
        due = due.filter(Column::OrderId.is_in(ids.iter().copied()));
    }
    Ok(due.exec(transaction).await?.rows_affected)
}
