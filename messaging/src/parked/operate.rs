//! What an operator does about parked messages: looks at them, sends them back, discards them. Every action leaves a row.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    Condition, ConnectionTrait, DbErr, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
    QueryOrder as _, QuerySelect as _,
    entity::prelude::*,
    sea_query::LikeExpr,
};
use storage::{Database, Failure};

use super::{Column, Entity, Model, State};
use crate::{origin::Origin, retry};

/// Which parked messages are meant: those that meet every condition that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One of these; empty for any.
    pub seqs: Vec<i64>,
    /// Parked by this consumer.
    pub consumer: Option<String>,
    /// Of this kind.
    pub kind: Option<String>,
    /// With this text in its error.
    pub error: Option<String>,
    /// Parked before this time, in microseconds since the Unix epoch.
    pub parked_before: Option<i64>,
}

/// What is to be done with parked messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send back to the consumer, which handles each in a transaction of its own within 5 s, or parks it again. What could
    /// not be decoded is left alone.
    Redrive,
    /// Remove for good, also what was sent back and did not leave yet.
    Discard,
}

/// Whether something is done or only counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing changes.
    DryRun,
    /// It is done, and noted in the same transaction.
    Apply,
}

/// Who acts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Operator {
    /// The name that they give.
    pub name: String,
    /// Who they are, and by which request they act.
    pub origin: Origin,
}

impl From<&str> for Operator {
    fn from(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }
}

/// Acts on every message that the filter means, and returns how many they are.
///
/// # Errors
/// As [`Database::transact`]: nothing was done, unless the database went away in the middle.
pub async fn operate(
    database: &Database,
    action: Action,
    filter: &Filter,
    operator: impl Into<Operator> + Send,
    mode: Mode,
) -> Result<u64, Failure> {
    let meant = filter.condition().add(action.condition());
    if mode == Mode::DryRun {
        return Ok(Entity::find().filter(meant).count(database.read()).await?);
    }
    let (filter, operator) = (format!("{filter:?}"), operator.into());
    let acted = database.transact(move |transaction| {
        let (meant, filter, operator) = (meant.clone(), filter.clone(), operator.clone());
        Box::pin(async move {
            let affected = action.apply(transaction, meant).await?;
            let note = note::ActiveModel {
                seq: NotSet,
                operator: Set(operator.name),
                action: Set(format!("{action:?}")),
                filter: Set(filter),
                affected: Set(i64::try_from(affected).unwrap_or(i64::MAX)),
                act_time: Set(retry::now()),
                subject: Set(operator.origin.subject),
                token_id: Set(operator.origin.token_id),
                trace_id: Set(operator.origin.trace_id),
            };
            note::Entity::insert(note).exec_without_returning(transaction).await?;
            Ok(affected)
        })
    });
    acted.await
}

impl Action {
    /// What it can be done to.
    fn condition(self) -> Condition {
        match self {
            Self::Redrive => {
                Condition::all().add(Column::State.eq(State::Parked)).add(Column::MessageId.is_not_null())
            }
            Self::Discard => Condition::all(),
        }
    }

    async fn apply(self, connection: &impl ConnectionTrait, meant: Condition) -> Result<u64, DbErr> {
        Ok(match self {
            Self::Redrive => {
                let redriven = Entity::update_many().col_expr(Column::State, Expr::value(State::Redriven));
                redriven.filter(meant).exec(connection).await?.rows_affected
            }
            Self::Discard => Entity::delete_many().filter(meant).exec(connection).await?.rows_affected,
        })
    }
}

impl Filter {
    fn condition(&self) -> Condition {
        let chosen = (!self.seqs.is_empty()).then(|| Column::Seq.is_in(self.seqs.iter().copied()));
        Condition::all()
            .add_option(chosen)
            .add_option(self.consumer.as_deref().map(|consumer| Column::Consumer.eq(consumer)))
            .add_option(self.kind.as_deref().map(|kind| Column::Kind.eq(kind)))
            .add_option(self.error.as_deref().map(|error| Column::Error.like(literally(error))))
            .add_option(self.parked_before.map(|time| Column::ParkTime.lt(time)))
    }
}

/// What LIKE finds a text with, whatever is in it.
fn literally(text: &str) -> LikeExpr {
    let mut pattern = String::from("%");
    for character in text.chars() {
        // Not the backslash, which the databases understand each in its own way.
        if matches!(character, '%' | '_' | '!') {
            pattern.push('!');
        }
        pattern.push(character);
    }
    pattern.push('%');
    LikeExpr::new(pattern).escape('!')
}

/// Lists the messages that the filter means, in the order they were parked: at most `limit`, those after the number `after`.
///
/// # Errors
/// As the database says.
pub async fn list(
    connection: &impl ConnectionTrait,
    filter: &Filter,
    after: i64,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    let after = Column::Seq.gt(after);
    Entity::find()
        .filter(filter.condition().add(after))
        .order_by_asc(Column::Seq)
        .limit(limit)
        .all(connection)
        .await
}

/// What operators did, the latest first, at most `limit`.
///
/// # Errors
/// As the database says.
pub async fn actions(connection: &impl ConnectionTrait, limit: u64) -> Result<Vec<note::Model>, DbErr> {
    note::Entity::find().order_by_desc(note::Column::Seq).limit(limit).all(connection).await
}

/// What an operator did.
pub mod note {
    use sea_orm::entity::prelude::*;

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
        /// See [`Origin::subject`](crate::origin::Origin::subject); absent where nobody says who calls.
        pub subject: Option<String>,
        /// See [`Origin::token_id`](crate::origin::Origin::token_id).
        pub token_id: Option<String>,
        /// See [`Origin::trace_id`](crate::origin::Origin::trace_id).
        pub trace_id: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}
