//! What operators did: a row of each action, written in its transaction.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, DbErr, EntityTrait as _, QueryFilter as _, QueryOrder as _, QuerySelect as _,
    entity::prelude::*,
};
use storage::Transaction;

use crate::{origin::Origin, retry};

/// A row of `operator_actions`.
#[sea_orm::model]
#[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "operator_actions")]
pub struct Model {
    /// The order in which they were done.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// Who did it.
    pub operator: String,
    /// What was done.
    pub action: String,
    /// To which messages.
    pub filter: String,
    /// How many these were.
    pub affected: i64,
    /// In microseconds since the Unix epoch.
    pub act_time: i64,
    /// See [`Origin::subject`]; absent where nobody says who calls.
    pub subject: Option<String>,
    /// See [`Origin::token_id`].
    pub token_id: Option<String>,
    /// See [`Origin::trace_id`].
    pub trace_id: Option<String>,
    /// Why it was done, where somebody said so.
    pub reason: Option<String>,
    /// See [`Origin::x_request_id`].
    pub x_request_id: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}

/// Who acts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operator {
    /// The name that they give.
    pub name: String,
    /// Why they act.
    pub reason: Option<String>,
    /// Who they are, and by which request they act.
    pub origin: Origin,
}

impl From<&str> for Operator {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// Notes in the caller's transaction what an operator does: `action` is a word in CamelCase, such as `Redrive`.
///
/// # Errors
/// As the database says.
pub async fn write(
    transaction: &Transaction,
    operator: Operator,
    action: &str,
    filter: String,
    affected: u64,
) -> Result<(), DbErr> {
    let note = ActiveModel {
        seq: NotSet,
        operator: Set(operator.name),
        action: Set(action.to_owned()),
        filter: Set(filter),
        affected: Set(i64::try_from(affected).unwrap_or(i64::MAX)),
        act_time: Set(retry::now()),
        subject: Set(operator.origin.subject),
        token_id: Set(operator.origin.token_id),
        trace_id: Set(operator.origin.trace_id),
        reason: Set(operator.reason),
        x_request_id: Set(operator.origin.x_request_id),
    };
    Entity::insert(note).exec_without_returning(transaction).await?;
    Ok(())
}

/// What operators did, the latest first, at most `limit`.
///
/// # Errors
/// As the database says.
pub async fn actions(connection: &impl ConnectionTrait, limit: u64) -> Result<Vec<Model>, DbErr> {
    Entity::find().order_by_desc(Column::Seq).limit(limit).all(connection).await
}

/// The same of one action, from a moment on (in microseconds since the Unix epoch).
///
/// # Errors
/// As the database says.
pub async fn since(
    connection: &impl ConnectionTrait,
    action: &str,
    since: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let find = Entity::find().filter(Column::Action.eq(action)).filter(Column::ActTime.gte(since));
    find.order_by_desc(Column::Seq).limit(limit).all(connection).await
}
