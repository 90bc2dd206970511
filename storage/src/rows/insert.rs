//! Inserting rows of an entity.

use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait as _, ConnectionTrait, DbBackend, DbErr, EntityName as _,
    EntityTrait, IdenStatic as _, Iterable as _, PrimaryKeyToColumn as _, PrimaryKeyTrait, Statement,
    TryGetableMany as _, Value,
};

use super::{
    Table,
    array::{table, type_name},
    is_postgres, statements,
    together::{Write, renumbered, write},
    value_bytes,
};

/// The type of an entity's primary key.
type Key<A> = <<<A as ActiveModelTrait>::Entity as EntityTrait>::PrimaryKey as PrimaryKeyTrait>::ValueType;

/// The statements that insert every row.
///
/// # Errors
/// For a column of a kind that [`table`] does not know.
pub fn inserts<A: ActiveModelTrait>(backend: DbBackend, rows: &[A]) -> Result<Vec<Write>, DbErr> {
    writes(backend, rows, "")
}

/// The statements that insert every row and leave out one that meets a unique key: as a [`Write`] it has failed then, without an error
/// of the database that its operator would read about.
///
/// # Errors
/// For a column of a kind that [`table`] does not know.
pub fn inserts_of_new<A: ActiveModelTrait>(backend: DbBackend, rows: &[A]) -> Result<Vec<Write>, DbErr> {
    writes(backend, rows, " ON CONFLICT DO NOTHING")
}

fn writes<A: ActiveModelTrait>(backend: DbBackend, rows: &[A], end: &str) -> Result<Vec<Write>, DbErr> {
    let write = |run: &[A]| {
        let (sql, values) = insertion(backend, run.iter())?;
        Ok(Write::new(sql + end, values, run.len()))
    };
    statements(rows, model_bytes).into_iter().map(write).collect()
}

/// Inserts every row, in as few statements as their size allows.
///
/// # Errors
/// As the database says; a violated constraint among them.
pub async fn insert<A: ActiveModelTrait>(connection: &impl ConnectionTrait, rows: &[A]) -> Result<(), DbErr> {
    write(connection, &inserts(connection.get_database_backend(), rows)?).await
}

/// Inserts the rows that meet no unique key already there (nor one of another row of `rows`), and returns the primary keys of
/// those that were inserted.
///
/// # Errors
/// As the database says; other constraints among them.
pub async fn insert_new<A: ActiveModelTrait>(
    connection: &impl ConnectionTrait,
    rows: &[A],
) -> Result<Vec<Key<A>>, DbErr> {
    let backend = connection.get_database_backend();
    let mut inserted = Vec::with_capacity(rows.len());
    for run in statements(rows, model_bytes) {
        let (sql, values) = insertion(backend, run.iter())?;
        let keys = key_names::<A>();
        let sql = format!("{sql} ON CONFLICT DO NOTHING RETURNING {}", keys.join(", "));
        inserted.extend(query_keys::<A>(connection, sql, values, &keys).await?);
    }
    Ok(inserted)
}

/// A row and what is inserted only together with it.
#[derive(Debug)]
struct Pair<'r, A, F> {
    row: &'r A,
    follower: &'r F,
}

/// Whether [`insert_new_with`] takes a single statement, which needs no transaction around it.
pub fn is_one_statement<A: ActiveModelTrait, F: ActiveModelTrait>(
    backend: DbBackend,
    rows: &[A],
    followers: &[F],
) -> bool {
    is_postgres(backend) && runs(&pairs(rows, followers)).len() <= 1
}

/// Inserts the rows that meet no unique key already there, each together with its follower, and returns the primary keys of those rows.
/// These must be new, and a single column. On PostgreSQL both are one statement.
///
/// # Errors
/// As the database says; other constraints among them.
pub async fn insert_new_with<A: ActiveModelTrait, F: ActiveModelTrait>(
    connection: &impl ConnectionTrait,
    rows: &[A],
    followers: &[F],
) -> Result<Vec<Key<A>>, DbErr> {
    let backend = connection.get_database_backend();
    let pairs = pairs(rows, followers);
    let keys = key_names::<A>();
    let mut inserted = Vec::with_capacity(rows.len());
    for run in runs(&pairs) {
        let (insert, mut values) = insertion(backend, run.iter().map(|pair| pair.row))?;
        let insert = format!("{insert} ON CONFLICT DO NOTHING RETURNING {}", keys[0]);
        if is_postgres(backend) {
            let (follow, more) = following(backend, run, "SELECT key FROM new")?;
            let follow = renumbered(&follow, values.len());
            values.extend(more);
            let sql = format!(
                "WITH new (key) AS ({insert}), follow AS ({follow}) SELECT key AS {} FROM new",
                keys[0]
            );
            inserted.extend(query_keys::<A>(connection, sql, values, &keys).await?);
        } else {
            inserted.extend(query_keys::<A>(connection, insert, values, &keys).await?);
            let (follow, values) =
                following(backend, run, &format!("SELECT {} FROM {}", keys[0], table_name::<A>()))?;
            connection.execute_raw(Statement::from_sql_and_values(backend, follow, values)).await?;
        }
    }
    Ok(inserted)
}

fn pairs<'r, A, F>(rows: &'r [A], followers: &'r [F]) -> Vec<Pair<'r, A, F>> {
    rows.iter().zip(followers).map(|(row, follower)| Pair { row, follower }).collect()
}

fn runs<'p, 'r, A: ActiveModelTrait, F: ActiveModelTrait>(
    pairs: &'p [Pair<'r, A, F>],
) -> Vec<&'p [Pair<'r, A, F>]> {
    // The key of the row stands beside the follower too.
    statements(pairs, |pair| {
        model_bytes(pair.row) + model_bytes(pair.follower) + value_bytes(&key_of(pair.row))
    })
}

/// Inserts rows, in their order: without a conflict clause, and in the form that one can follow.
fn insertion<'r, A: ActiveModelTrait + 'r>(
    backend: DbBackend,
    rows: impl Iterator<Item = &'r A> + Clone,
) -> Result<(String, Vec<Value>), DbErr> {
    let columns = columns(rows.clone().next());
    let Table { sql, values } = table(
        backend,
        "given",
        &types::<A>(&columns)?,
        rows.map(|row| columns.iter().map(|column| value(row, *column)).collect()),
    )?;
    let (name, names) = (table_name::<A>(), names::<A>(&columns));
    // SQLite would take ON CONFLICT for a part of a join, but for the condition (lang_upsert.html, "Parsing Ambiguity").
    Ok((format!("INSERT INTO {name} ({names}) SELECT * FROM {sql} WHERE true"), values))
}

/// Inserts the followers of those rows whose keys are among `keys`, in their order.
fn following<A: ActiveModelTrait, F: ActiveModelTrait>(
    backend: DbBackend,
    run: &[Pair<'_, A, F>],
    keys: &str,
) -> Result<(String, Vec<Value>), DbErr> {
    let columns = columns(run.first().map(|pair| pair.follower));
    let mut kinds = types::<F>(&columns)?;
    let number = kinds.len() + 1;
    kinds.push(type_name(key_column::<A>().def().get_column_type())?);
    let rows = run.iter().map(|pair| {
        let values = columns.iter().map(|column| value(pair.follower, *column));
        values.chain([key_of(pair.row)]).collect()
    });
    let Table { sql, values } = table(backend, "given", &kinds, rows)?;
    let selected: Vec<String> = (1..number).map(|at| format!("column{at}")).collect();
    let (name, names, selected) = (table_name::<F>(), names::<F>(&columns), selected.join(", "));
    let sql =
        format!("INSERT INTO {name} ({names}) SELECT {selected} FROM {sql} WHERE column{number} IN ({keys})");
    Ok((sql, values))
}

async fn query_keys<A: ActiveModelTrait>(
    connection: &impl ConnectionTrait,
    sql: String,
    values: Vec<Value>,
    names: &[String],
) -> Result<Vec<Key<A>>, DbErr> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    let rows = connection.query_all_raw(statement).await?;
    rows.iter().map(|row| Ok(Key::<A>::try_get_many(row, "", names)?)).collect()
}

/// The columns that are given; every row gives the same ones.
fn columns<A: ActiveModelTrait>(row: Option<&A>) -> Vec<<A::Entity as EntityTrait>::Column> {
    let given = |column: &<A::Entity as EntityTrait>::Column| {
        row.is_some_and(|row| !matches!(row.get(*column), ActiveValue::NotSet))
    };
    <A::Entity as EntityTrait>::Column::iter().filter(given).collect()
}

fn value<A: ActiveModelTrait>(row: &A, column: <A::Entity as EntityTrait>::Column) -> Value {
    match row.get(column) {
        ActiveValue::Set(value) | ActiveValue::Unchanged(value) => value,
        // No row leaves out what another one gives.
        ActiveValue::NotSet => Value::String(None),
    }
}

fn types<A: ActiveModelTrait>(
    columns: &[<A::Entity as EntityTrait>::Column],
) -> Result<Vec<&'static str>, DbErr> {
    columns.iter().map(|column| type_name(column.def().get_column_type())).collect()
}

fn names<A: ActiveModelTrait>(columns: &[<A::Entity as EntityTrait>::Column]) -> String {
    columns.iter().map(|column| column.as_str()).collect::<Vec<_>>().join(", ")
}

fn table_name<A: ActiveModelTrait>() -> &'static str {
    A::Entity::default().table_name()
}

fn key_names<A: ActiveModelTrait>() -> Vec<String> {
    <A::Entity as EntityTrait>::PrimaryKey::iter().map(|key| key.into_column().as_str().to_owned()).collect()
}

/// The first column of the primary key: every entity has one.
fn key_column<A: ActiveModelTrait>() -> <A::Entity as EntityTrait>::Column {
    let mut keys = <A::Entity as EntityTrait>::PrimaryKey::iter();
    keys.next().map(|key| key.into_column()).expect("an entity has a primary key")
}

fn key_of<A: ActiveModelTrait>(row: &A) -> Value {
    value(row, key_column::<A>())
}

fn model_bytes<A: ActiveModelTrait>(model: &A) -> usize {
    <A::Entity as EntityTrait>::Column::iter()
        .map(|column| match model.get(column) {
            ActiveValue::Set(value) | ActiveValue::Unchanged(value) => value_bytes(&value),
            ActiveValue::NotSet => 0,
        })
        .sum()
}
