//! What an operator does about pauses. Each beginning and each end leaves a row in `operator_actions`, in the same transaction.

use sea_orm::{
    ActiveValue::{NotSet, Set},
    ConnectionTrait, DbErr, EntityTrait as _, PaginatorTrait as _, QueryOrder as _, Statement, Value,
};
use storage::{Database, Failure, Transaction};

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

/// Pauses that are not over, at most: every process reads all of them once a second.
pub const MOST: u64 = 1_000;

/// How long a request is remembered whose pause is over, in microseconds: nobody repeats one after days.
const KEEP: i64 = 7 * 24 * 3_600 * 1_000_000;

/// What a request for a pause is known again by: its key, and what distinguishes it from others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key that its caller has chosen.
    pub id: String,
    /// See [`Begun::KeyReused`].
    pub fingerprint: Vec<u8>,
}

/// What a request for a pause came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It has begun.
    Now(Model),
    /// It had begun before, by the same request; it may be over by now.
    Before(Model),
    /// The key was used for a request with another fingerprint.
    KeyReused,
    /// There are [`MOST`] already.
    TooMany,
}

/// All pauses that are not over, in the order in which they began.
///
/// # Errors
/// As the database says.
pub async fn list(connection: &impl ConnectionTrait) -> Result<Vec<Model>, DbErr> {
    Entity::find().order_by_asc(Column::Seq).all(connection).await
}

/// Begins a pause. Others of the same may be there: each has to be ended. With a key it begins once, however often it is requested.
///
/// # Errors
/// As [`Database::transact`].
pub async fn pause(
    database: &Database,
    pause: Pause,
    operator: Operator,
    key: Option<Key>,
) -> Result<Begun, Failure> {
    let paused = database.transact(move |transaction| {
        let (pause, operator, key) = (pause.clone(), operator.clone(), key.clone());
        Box::pin(async move { begin(transaction, pause, operator, key).await })
    });
    paused.await
}

async fn begin(
    transaction: &Transaction,
    pause: Pause,
    operator: Operator,
    key: Option<Key>,
) -> Result<Begun, DbErr> {
    if let Some(key) = &key
        && let Some(before) = requested(transaction, key, &pause, &operator).await?
    {
        return Ok(before);
    }
    if Entity::find().count(transaction).await? >= MOST {
        if let Some(key) = key {
            forget(transaction, key).await?;
        }
        return Ok(Begun::TooMany);
    }
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
    if let Some(key) = key {
        remember(transaction, key, &begun).await?;
    }
    note::write(transaction, operator, "Pause", begun.describe(), 1).await?;
    Ok(Begun::Now(begun))
}

/// What a key has come to before. Whoever has the same key at the same moment is waited for.
async fn requested(
    transaction: &Transaction,
    key: &Key,
    pause: &Pause,
    operator: &Operator,
) -> Result<Option<Begun>, DbErr> {
    let backend = transaction.get_database_backend();
    forget_old(transaction).await?;
    let claim =
        "INSERT INTO pause_requests (request_id, fingerprint, pause, pause_time) VALUES ($1, $2, 0, 0)
        ON CONFLICT (request_id) DO NOTHING";
    let values: [Value; 2] = [key.id.as_str().into(), key.fingerprint.clone().into()];
    let claim = Statement::from_sql_and_values(backend, claim, values);
    if transaction.execute_raw(claim).await?.rows_affected() > 0 {
        return Ok(None);
    }
    let find =
        "SELECT fingerprint, pause, subject, token_id, pause_time FROM pause_requests WHERE request_id = $1";
    let find = Statement::from_sql_and_values(backend, find, [key.id.as_str().into()]);
    let found = transaction.query_one_raw(find).await?;
    let found = found.ok_or_else(|| DbErr::RecordNotFound("the request for a pause".to_owned()))?;
    if found.try_get_by_index::<Vec<u8>>(0)? != key.fingerprint {
        return Ok(Some(Begun::KeyReused));
    }
    let Pause { part, consumer, kind, partition, reason } = pause.clone();
    Ok(Some(Begun::Before(Model {
        seq: found.try_get_by_index(1)?,
        part,
        consumer,
        kind,
        partition_number: partition.map(i32::from),
        reason,
        operator: operator.name.clone(),
        subject: found.try_get_by_index(2)?,
        token_id: found.try_get_by_index(3)?,
        pause_time: found.try_get_by_index(4)?,
    })))
}

/// Forgets the keys of pauses that began long ago and are over.
async fn forget_old(transaction: &Transaction) -> Result<(), DbErr> {
    let sql = "DELETE FROM pause_requests WHERE pause_time < $1 AND pause NOT IN (SELECT seq FROM pauses)";
    let before: Value = (retry::now() - KEEP).into();
    let old = Statement::from_sql_and_values(transaction.get_database_backend(), sql, [before]);
    transaction.execute_raw(old).await.map(drop)
}

/// Nothing came of it: it may be requested again.
async fn forget(transaction: &Transaction, key: Key) -> Result<(), DbErr> {
    let sql = "DELETE FROM pause_requests WHERE request_id = $1";
    let forget = Statement::from_sql_and_values(transaction.get_database_backend(), sql, [key.id.into()]);
    transaction.execute_raw(forget).await.map(drop)
}

async fn remember(transaction: &Transaction, key: Key, begun: &Model) -> Result<(), DbErr> {
    let sql = "UPDATE pause_requests SET pause = $2, subject = $3, token_id = $4, pause_time = $5
        WHERE request_id = $1";
    let values: [Value; 5] = [
        key.id.into(),
        begun.seq.into(),
        begun.subject.clone().into(),
        begun.token_id.clone().into(),
        begun.pause_time.into(),
    ];
    let remember = Statement::from_sql_and_values(transaction.get_database_backend(), sql, values);
    transaction.execute_raw(remember).await.map(drop)
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
