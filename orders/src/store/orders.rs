//! Queries over orders.

use messaging::{envelope::Envelope, outbox};
use sea_orm::{
    ConnectionTrait, DbBackend, DbErr, EntityTrait as _, Iterable as _, QueryFilter as _, QueryOrder as _,
    QuerySelect as _, Statement,
    entity::prelude::*,
    sea_query::{LockBehavior, LockType},
};
use storage::{
    Transaction,
    rows::{self, Pairs, Write},
};

use super::{
    changes,
    selection::{Cursor, Selection},
};
use crate::{
    domain::settle::Decision,
    store::entity::order::{Column, Entity, Model, Status},
};

/// The order with this id, if it is `owner`'s; of any user without one.
///
/// # Errors
/// As the database says.
pub async fn find(
    connection: &impl ConnectionTrait,
    id: Uuid,
    owner: Option<&str>,
) -> Result<Option<Model>, DbErr> {
    let find = Entity::find_by_id(id);
    let find = owner.into_iter().fold(find, |find, owner| find.filter(Column::UserId.eq(owner)));
    find.one(connection).await
}

/// The order with this id, as [`lock`] holds it, if it is `owner`'s; of any user without one.
///
/// # Errors
/// As the database says.
pub async fn lock_one(
    transaction: &Transaction,
    id: Uuid,
    owner: Option<&str>,
) -> Result<Option<Model>, DbErr> {
    let backend = transaction.get_database_backend();
    let mut values = vec![id.into()];
    values.extend(owner.map(Into::into));
    let whose = if owner.is_some() { "AND user_id = $2" } else { "" };
    let sql = format!("SELECT {} FROM orders WHERE id = $1 {whose} {}", columns(backend), hold(backend));
    let find = Statement::from_sql_and_values(backend, sql, values);
    Entity::find().from_raw_sql(find).one(transaction).await
}

/// The orders with these ids, as far as there are any, held until the transaction ends: with the number that the transaction gives to
/// what it changes. Everyone locks in the order of the ids, so nobody waits in a circle.
///
/// # Errors
/// As the database says.
pub async fn lock(transaction: &Transaction, ids: &[Uuid]) -> Result<Vec<Model>, DbErr> {
    let backend = transaction.get_database_backend();
    let mut found = Vec::with_capacity(ids.len());
    for run in rows::statements(ids, |_| 37) {
        let table = rows::table(backend, "requested", &["uuid"], run.iter().map(|id| vec![(*id).into()]))?;
        let (columns, hold) = (columns(backend), hold(backend));
        let sql = format!("SELECT {columns} FROM orders WHERE {} ORDER BY id {hold}", table.has("id"));
        let find = Statement::from_sql_and_values(backend, sql, table.values);
        found.extend(Entity::find().from_raw_sql(find).all(transaction).await?);
    }
    Ok(found)
}

/// SQLite's immediate transaction holds everything already.
fn hold(backend: DbBackend) -> &'static str {
    if backend == DbBackend::Postgres { "FOR UPDATE" } else { "" }
}

fn columns(backend: DbBackend) -> String {
    let column = |column: Column| match column {
        Column::ChangeNumber => format!("{} AS change_number", changes::number(backend)),
        other => other.as_str().to_owned(),
    };
    Column::iter().map(column).collect::<Vec<_>>().join(", ")
}

/// A page of a list, behind `cursor`.
///
/// # Errors
/// As the database says.
pub async fn page(
    connection: &impl ConnectionTrait,
    selection: &Selection,
    cursor: Option<Cursor>,
    limit: u64,
) -> Result<Vec<Model>, DbErr> {
    selection.query(cursor, limit).all(connection).await
}

/// Orders that are to be placed, each together with its message.
pub type NewOrders = Pairs<Model, outbox::Model>;

/// Orders that are to be placed, as far as their keys were not used before.
///
/// # Errors
/// For a message that is too large.
pub fn new(backend: DbBackend, orders: &[&Model], messages: Vec<Envelope>) -> Result<NewOrders, DbErr> {
    let placing = Pairs::new(backend, orders, &outbox::models(messages)?);
    Ok(placing.computing(Column::ChangeNumber, changes::number(backend)))
}

/// The orders that these (user id, key) pairs have placed already.
///
/// # Errors
/// As the database says.
pub async fn find_requests(
    connection: &impl ConnectionTrait,
    requests: &[(&str, &str)],
) -> Result<Vec<Model>, DbErr> {
    let mut found = Vec::new();
    for run in rows::statements(requests, |(user_id, request_id)| user_id.len() + request_id.len() + 16) {
        // A few too many when one key is used by several users: the caller looks them up by the pair.
        let find = Entity::find()
            .filter(Column::UserId.is_in(run.iter().map(|(user_id, _)| *user_id)))
            .filter(Column::RequestId.is_in(run.iter().map(|(_, request_id)| *request_id)));
        found.extend(find.all(connection).await?);
    }
    Ok(found)
}

/// Which of these orders there are.
///
/// # Errors
/// As the database says.
pub async fn find_ids(connection: &impl ConnectionTrait, ids: &[Uuid]) -> Result<Vec<Uuid>, DbErr> {
    let mut found = Vec::new();
    for run in rows::statements(ids, |_| 37) {
        let find =
            Entity::find().select_only().column(Column::Id).filter(Column::Id.is_in(run.iter().copied()));
        found.extend(find.into_tuple::<Uuid>().all(connection).await?);
    }
    Ok(found)
}

/// The statement that writes down that the cancellation of an order was requested; the caller holds the order, and it is NEW.
#[must_use]
pub fn cancellation(backend: DbBackend, order: &Model) -> Write {
    let sql = format!(
        "UPDATE orders SET cancel_request_time = $1, cancel_request_id = $2, update_time = $3, version = $4, \
         ask_due_time = $5, asked_message_id = $6, change_number = {} WHERE id = $7",
        changes::number(backend)
    );
    let values = vec![
        order.cancel_request_time.into(),
        order.cancel_request_id.clone().into(),
        order.update_time.into(),
        order.version.into(),
        order.ask_due_time.into(),
        order.asked_message_id.into(),
        order.id.into(),
    ];
    Write::new(sql, values, 1)
}

/// Orders that are still NEW at the time payments is to be asked again, those that wait longest first, held until the transaction ends.
/// What another process holds is left to it.
///
/// # Errors
/// As the database says.
pub async fn lock_due(transaction: &Transaction, now: i64, limit: u64) -> Result<Vec<Model>, DbErr> {
    let find = Entity::find()
        // A literal: with a bound value a database cannot know that the index of undecided orders serves.
        .filter(Expr::cust(format!("status = {}", Status::New as i16)))
        .filter(Column::AskDueTime.lte(now))
        .order_by_asc(Column::AskDueTime)
        .limit(limit);
    let find = match transaction.get_database_backend() {
        DbBackend::Postgres => find.lock_with_behavior(LockType::Update, LockBehavior::SkipLocked),
        _ => find,
    };
    find.all(transaction).await
}

/// When the oldest order that is NEW was placed, in microseconds since the Unix epoch; `None` when none is.
///
/// # Errors
/// As the database says.
pub async fn oldest_new(connection: &impl ConnectionTrait) -> Result<Option<i64>, DbErr> {
    // Ids sort by the time of placing: the first entry of the index by status, however many orders there are.
    let find = Entity::find().select_only().column(Column::CreateTime);
    let find = find.filter(Column::Status.eq(Status::New)).order_by_asc(Column::Id);
    find.into_tuple().one(connection).await
}

/// The statements that write down when payments is to be asked again about each order, and with which message it was asked last.
///
/// # Errors
/// None is expected.
pub fn record_requests(backend: DbBackend, orders: &[Model]) -> Result<Vec<Write>, DbErr> {
    let update = |run: &[Model]| {
        let row = |order: &Model| [order.id.into(), order.ask_due_time.into(), order.asked_message_id.into()];
        let table = rows::lookup(backend, "requested", &["uuid", "bigint", "uuid"], run.iter().map(row))?;
        let sql = format!(
            "UPDATE orders SET ask_due_time = requested.column2, asked_message_id = requested.column3 \
             FROM {} WHERE orders.id = requested.column1",
            table.sql
        );
        Ok(Write::new(sql, table.values, run.len()))
    };
    rows::statements(orders, |_| 100).into_iter().map(update).collect()
}

/// The statements that end orders by decisions about them, as far as the orders are still NEW and the decisions are about their user,
/// amount and currency. They lock in the order of the ids, too.
///
/// # Errors
/// None is expected.
pub fn ends(backend: DbBackend, decisions: &[&Decision], now: i64) -> Result<Vec<Write>, DbErr> {
    let end = |run: &[&Decision]| {
        let row = |decision: &&Decision| {
            let (status, reason, entry) = decision.end.columns();
            let reason = reason.map(|reason| reason as i16);
            vec![
                decision.order_id.into(),
                (status as i16).into(),
                reason.into(),
                entry.into(),
                decision.user_id.as_str().into(),
                decision.amount.into(),
                decision.currency_code.as_str().into(),
            ]
        };
        let types = ["uuid", "smallint", "smallint", "uuid", "text", "bigint", "text"];
        let mut ended = rows::lookup(backend, "ended", &types, run.iter().map(row))?;
        ended.values.push(now.into());
        let (now, number) = (format!("${}", ended.values.len()), changes::number(backend));
        // An order is found by its id. What else it has to be is hidden in a CASE from the planners: PostgreSQL's would go through the
        // index of NEW orders, which may be all but empty when the plan is made, and full later; SQLite's through all orders.
        let sql = format!(
            "UPDATE orders SET status = ended.column2, cancel_reason = ended.column3, ledger_entry_id = ended.column4, \
             update_time = CASE WHEN update_time > {now} THEN update_time ELSE {now} END, version = version + 1, \
             change_number = {number} \
             FROM {} WHERE orders.id = ended.column1 AND CASE WHEN orders.status = {} AND orders.user_id = ended.column5 \
             AND orders.amount = ended.column6 AND orders.currency_code = ended.column7 THEN TRUE ELSE FALSE END",
            ended.sql,
            Status::New as i16
        );
        Ok(Write::new(sql, ended.values, run.len()))
    };
    let mut decisions = decisions.to_vec();
    decisions.sort_unstable_by_key(|decision| decision.order_id);
    rows::statements(&decisions, |decision| decision.user_id.len() + 130).into_iter().map(end).collect()
}

/// Ends orders as [`ends`] does, each statement a transaction by itself, and returns those that have ended as they are now.
///
/// # Errors
/// As the database says.
pub async fn end(
    connection: &impl ConnectionTrait,
    decisions: &[&Decision],
    now: i64,
) -> Result<Vec<Model>, DbErr> {
    let columns = Column::iter().map(|column| column.as_str()).collect::<Vec<_>>().join(", ");
    let mut ended = Vec::with_capacity(decisions.len());
    for write in ends(connection.get_database_backend(), decisions, now)? {
        let statement = write.returning(connection.get_database_backend(), &columns);
        ended.extend(Entity::find().from_raw_sql(statement).all(connection).await?);
    }
    Ok(ended)
}
