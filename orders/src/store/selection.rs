//! What a list of orders holds, as a query that an index serves.

use chassis::clock::Micros;
use sea_orm::{
    EntityTrait as _, ExprTrait as _, IntoSimpleExpr as _, Order as Direction, QueryFilter as _,
    QueryOrder as _, QuerySelect as _, Select, Value, entity::prelude::*, sea_query::SimpleExpr,
};

use service::{
    filter::Operator,
    list::{begun, compare, equal},
};

use crate::store::entity::order::{CancelReason, Column, Entity, Status};

/// What a list holds, and in which order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Only this user's.
    pub user_id: Option<String>,
    /// Only of this status.
    pub status: Option<Status>,
    /// Only those that meet all of these.
    pub conditions: Vec<Condition>,
    /// The order of the list.
    pub sorting: Sorting,
}

/// What one comparison of a filter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The status; by `=` or `!=`. `None`: the one that no order has.
    Status(Operator, Option<Status>),
    /// The amount, in minor units.
    Amount(Operator, i64),
    /// The time of placing.
    CreateTime(Operator, Micros),
    /// The idempotency key; by `=` or `!=`. `None`: no key.
    RequestId(Operator, Option<String>),
    /// The reason of the cancellation; by `=` or `!=`. `None`: not cancelled.
    CancelReason(Operator, Option<CancelReason>),
}

/// The order of a list. Orders that are equal by the key go by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sorting {
    /// By what.
    pub key: SortKey,
    /// The largest first.
    pub descending: bool,
}

/// What a list is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortKey {
    /// The time of placing: the order of the ids, which begin with it.
    CreateTime,
    /// The amount.
    Amount,
}

/// The last order of the page before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Its amount, for lists that are ordered by it.
    pub amount: i64,
    /// Its id.
    pub id: Uuid,
}

impl Selection {
    /// The orders of the selection behind `cursor`, at most `limit`.
    #[must_use]
    pub fn query(&self, cursor: Option<Cursor>, limit: u64) -> Select<Entity> {
        let mut query = Entity::find().limit(limit);
        if let Some(user_id) = &self.user_id {
            query = query.filter(Column::UserId.eq(user_id.as_str()));
        }
        if let Some(status) = self.status {
            query = query.filter(Column::Status.eq(status));
        }
        for condition in &self.conditions {
            query = query.filter(condition.expression());
        }
        let direction = if self.sorting.descending { Direction::Desc } else { Direction::Asc };
        let (key, last): (Vec<Column>, Vec<Value>) = match (self.sorting.key, cursor) {
            (SortKey::CreateTime, cursor) => {
                (vec![Column::Id], cursor.map(|last| last.id.into()).into_iter().collect())
            }
            (SortKey::Amount, None) => (vec![Column::Amount, Column::Id], Vec::new()),
            (SortKey::Amount, Some(last)) => {
                (vec![Column::Amount, Column::Id], vec![last.amount.into(), last.id.into()])
            }
        };
        if !last.is_empty() {
            // One comparison of rows, not of each column: an index can begin there.
            let key = Expr::tuple(key.iter().map(|column| column.into_simple_expr()));
            let last = Expr::tuple(last.into_iter().map(Expr::value));
            query = query.filter(if self.sorting.descending { key.lt(last) } else { key.gt(last) });
        }
        key.into_iter().fold(query, |query, column| query.order_by(column, direction.clone()))
    }
}

impl Condition {
    fn expression(&self) -> SimpleExpr {
        match self {
            Self::Status(operator, Some(status)) => compare(Column::Status, *operator, *status),
            Self::Status(operator, None) => equal(Column::Status, *operator, None::<Status>),
            Self::Amount(operator, amount) => compare(Column::Amount, *operator, *amount),
            Self::RequestId(operator, key) => equal(Column::RequestId, *operator, key.as_deref()),
            Self::CancelReason(operator, reason) => equal(Column::CancelReason, *operator, *reason),
            Self::CreateTime(operator, at) => begun(Column::Id, *operator, *at),
        }
    }
}
