//! What an operator does about pauses. Each beginning and each end leaves a row in `operator_actions`, in the same transaction.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, DbErr, EntityTrait as _, QueryOrder as _,
};
use storage::{Database, Failure};

use super::{ActiveModel, Column, Entity, Model, Part};
use crate::{
    parked::{Operator, note},
    retry,
};

/// What is to be paused, and why. [`Part::Relay`] has nothing beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pause {
    /// What it is of.
    pub part: Part,
    /// Only this consumer.
    pub consumer: Option<String>,
    /// Only messages of this kind.
    pub kind: Option<String>,
    /// Only this partition.
    pub partition: Option<u16>,
    /// Why.
    pub reason: String,
}

/// All pauses that are not over, in the order in which they began.
///
/// # Errors
/// As the database says.
pub async fn list(connection: &impl ConnectionTrait) -> Result<Vec<Model>, DbErr> {
    Entity::find().order_by_asc(Column::Seq).all(connection).await
}

/// Begins a pause. Others of the same may be there: each has to be ended.
///
/// # Errors
/// As [`Database::transact`].
pub async fn pause(database: &Database, pause: Pause, operator: Operator) -> Result<Model, Failure> {
    let paused = database.transact(move |transaction| {
        let (pause, operator) = (pause.clone(), operator.clone());
        Box::pin(async move {
            let Pause { part, consumer, kind, partition, reason } = pause;
            let begun = ActiveModel {
                seq: NotSet,
                part: Set(part),
                consumer: Set(consumer),
                kind: Set(kind),
                partition_number: Set(partition.map(i32::from)),
                reason: Set(reason),
                operator: Set(operator.name.clone()),
                subject: Set(operator.origin.subject.clone()),
                token_id: Set(operator.origin.token_id.clone()),
                pause_time: Set(retry::now()),
            };
            let begun = Entity::insert(begun).exec_with_returning(transaction).await?;
            note::write(transaction, operator, "Pause", begun.describe(), 1).await?;
            Ok(begun)
        })
    });
    paused.await
}

/// Ends a pause, and returns it; `None` when there is none with this number.
///
/// # Errors
/// As [`Database::transact`].
pub async fn resume(database: &Database, seq: i64, operator: Operator) -> Result<Option<Model>, Failure> {
    let resumed = database.transact(move |transaction| {
        let operator = operator.clone();
        Box::pin(async move {
            let Some(pause) = Entity::find_by_id(seq).one(transaction).await? else { return Ok(None) };
            // Somebody else may have ended it meanwhile, and then it is theirs.
            if Entity::delete_by_id(seq).exec(transaction).await?.rows_affected == 0 {
                return Ok(None);
            }
            note::write(transaction, operator, "Resume", pause.describe(), 1).await?;
            Ok(Some(pause))
        })
    });
    resumed.await
}

impl Model {
    /// What it is of and why, as an audit shows it: `pause 7 of consumer payments, partition 3: the disk is full`.
    fn describe(&self) -> String {
        let mut of = match self.part {
            Part::Relay => "the relay".to_owned(),
            Part::Consumer => self
                .consumer
                .as_ref()
                .map_or_else(|| "all consumers".to_owned(), |name| format!("consumer {name}")),
        };
        if let Some(kind) = &self.kind {
            of = format!("{of}, kind {kind}");
        }
        if let Some(partition) = self.partition_number {
            of = format!("{of}, partition {partition}");
        }
        format!("pause {} of {of}: {}", self.seq, self.reason)
    }
}
