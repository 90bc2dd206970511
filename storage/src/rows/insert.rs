//! Inserting rows of an entity.

use std::fmt;

use sea_orm::{
    ColumnTrait as _, ConnectionTrait, DbBackend, DbErr, EntityName as _, EntityTrait, IdenStatic as _,
    Iterable as _, ModelTrait, PrimaryKeyToColumn as _, PrimaryKeyTrait, Statement, TryGetableMany as _,
    Value,
};

use super::{
    Table,
    array::{table, type_name},
    given::{Column, Given, Row},
    is_postgres, statements,
    together::{Write, renumbered, write},
};

/// The type of an entity's primary key.
type Key<M> = <<<M as ModelTrait>::Entity as EntityTrait>::PrimaryKey as PrimaryKeyTrait>::ValueType;

/// The statements that insert every row.
///
/// # Errors
/// For a column of a kind that [`table`] does not know.
pub fn inserts<'m, M: ModelTrait + 'm>(
    backend: DbBackend,
    models: impl IntoIterator<Item = &'m M>,
) -> Result<Vec<Write>, DbErr> {
    writes(backend, models, "")
}

/// The statements that insert every row and leave out one that meets a unique key: as a [`Write`] it has failed then, without an error
/// of the database that its operator would read about.
///
/// # Errors
/// For a column of a kind that [`table`] does not know.
pub fn inserts_of_new<'m, M: ModelTrait + 'm>(
    backend: DbBackend,
    models: impl IntoIterator<Item = &'m M>,
) -> Result<Vec<Write>, DbErr> {
    writes(backend, models, " ON CONFLICT DO NOTHING")
}

fn writes<'m, M: ModelTrait + 'm>(
    backend: DbBackend,
    models: impl IntoIterator<Item = &'m M>,
    end: &'static str,
) -> Result<Vec<Write>, DbErr> {
    let models: Vec<&M> = models.into_iter().collect();
    let Given { columns, rows } = Given::by(&models);
    let write = |run: &[Row]| {
        let (sql, values) = insertion::<M>(backend, &columns, None, run)?;
        Ok(Write::new(sql, values, run.len()).ending(end))
    };
    statements(&rows, Row::bytes).into_iter().map(write).collect()
}

/// Inserts every row, in as few statements as their size allows.
///
/// # Errors
/// As the database says; a violated constraint among them.
pub async fn insert<'m, M: ModelTrait + 'm>(
    connection: &impl ConnectionTrait,
    models: impl IntoIterator<Item = &'m M>,
) -> Result<(), DbErr> {
    write(connection, &inserts(connection.get_database_backend(), models)?).await
}

/// Inserts the rows that meet no unique key already there (nor one of another row of `models`), and returns the primary keys of
/// those that were inserted.
///
/// # Errors
/// As the database says; other constraints among them.
pub async fn insert_new<M: ModelTrait>(
    connection: &impl ConnectionTrait,
    models: &[M],
) -> Result<Vec<Key<M>>, DbErr> {
    let backend = connection.get_database_backend();
    let Given { columns, rows } = Given::by(&models.iter().collect::<Vec<_>>());
    let mut inserted = Vec::with_capacity(rows.len());
    let keys = key_names::<M>();
    for run in statements(&rows, Row::bytes) {
        let (sql, values) = insertion::<M>(backend, &columns, None, run)?;
        let sql = format!("{sql} ON CONFLICT DO NOTHING RETURNING {}", keys.join(", "));
        inserted.extend(query_keys::<M>(connection, sql, values, &keys).await?);
    }
    Ok(inserted)
}

/// Rows of one entity, and what of another one is inserted only together with each.
pub struct Pairs<M: ModelTrait, F: ModelTrait> {
    backend: DbBackend,
    columns: Vec<Column<M>>,
    /// A column of the rows whose value the database computes.
    computed: Option<(Column<M>, &'static str)>,
    /// Those of the followers, whose last value is the key of the row that they follow.
    follower_columns: Vec<Column<F>>,
    pairs: Vec<(Row, Row)>,
}

impl<M: ModelTrait, F: ModelTrait> Pairs<M, F> {
    /// Rows, which must have new keys of a single column, and a follower of each.
    #[must_use]
    pub fn new(backend: DbBackend, models: &[&M], followers: &[F]) -> Self {
        let keys = models.iter().map(|model| model.get(key_column::<M>()));
        let (rows, followers) = (Given::by(models), Given::by(&followers.iter().collect::<Vec<_>>()));
        let followers_with_keys =
            followers.rows.into_iter().zip(keys).map(|(follower, key)| follower.and(key));
        let pairs = rows.rows.into_iter().zip(followers_with_keys).collect();
        Self { backend, columns: rows.columns, computed: None, follower_columns: followers.columns, pairs }
    }

    /// With a column of the rows that the database computes, once for all rows of a statement, whatever the models have in it.
    #[must_use]
    pub fn computing(mut self, column: Column<M>, expression: &'static str) -> Self {
        let given = self.columns.iter().position(|given| given.as_str() == column.as_str());
        if let Some(at) = given {
            self.columns.remove(at);
            self.pairs.iter_mut().for_each(|(row, _)| row.leave_out(at));
        }
        Self { computed: Some((column, expression)), ..self }
    }

    /// Whether [`Pairs::insert`] takes a single statement, which needs no transaction around it.
    #[must_use]
    pub fn are_one_statement(&self) -> bool {
        is_postgres(self.backend) && self.runs().len() <= 1
    }

    /// Inserts the rows that meet no unique key already there, each together with its follower, and returns the primary keys of those
    /// rows. On PostgreSQL both are one statement.
    ///
    /// # Errors
    /// As the database says; other constraints among them.
    pub async fn insert(&self, connection: &impl ConnectionTrait) -> Result<Vec<Key<M>>, DbErr> {
        let keys = key_names::<M>();
        let mut inserted = Vec::with_capacity(self.pairs.len());
        for run in self.runs() {
            let (insert, mut values) = self.leading(run)?;
            let insert = format!("{insert} ON CONFLICT DO NOTHING RETURNING {}", keys[0]);
            if is_postgres(self.backend) {
                let (follow, more) = self.following(run, "SELECT key FROM new")?;
                let follow = renumbered(&follow, values.len());
                values.extend(more);
                let sql = format!(
                    "WITH new (key) AS ({insert}), follow AS ({follow}) SELECT key AS {} FROM new",
                    keys[0]
                );
                inserted.extend(query_keys::<M>(connection, sql, values, &keys).await?);
            } else {
                inserted.extend(query_keys::<M>(connection, insert, values, &keys).await?);
                let there = format!("SELECT {} FROM {}", keys[0], table_name::<M>());
                let (follow, values) = self.following(run, &there)?;
                connection.execute_raw(Statement::from_sql_and_values(self.backend, follow, values)).await?;
            }
        }
        Ok(inserted)
    }

    fn runs(&self) -> Vec<&[(Row, Row)]> {
        statements(&self.pairs, |(row, follower)| row.bytes() + follower.bytes())
    }

    /// Inserts the rows of a run.
    fn leading(&self, run: &[(Row, Row)]) -> Result<(String, Vec<Value>), DbErr> {
        insertion::<M>(self.backend, &self.columns, self.computed, run.iter().map(|(row, _)| row))
    }

    /// Inserts the followers of those rows whose keys are among `keys`, in their order.
    fn following(&self, run: &[(Row, Row)], keys: &str) -> Result<(String, Vec<Value>), DbErr> {
        let columns = &self.follower_columns;
        let mut kinds = types::<F>(columns)?;
        kinds.push(type_name(key_column::<M>().def().get_column_type())?);
        let number = kinds.len();
        let followers = run.iter().map(|(_, follower)| follower);
        let Table { sql, values, .. } = table(self.backend, "given", &kinds, followers)?;
        let selected: Vec<String> = (1..number).map(|at| format!("column{at}")).collect();
        let (name, names, selected) = (table_name::<F>(), names::<F>(columns), selected.join(", "));
        let sql = format!(
            "INSERT INTO {name} ({names}) SELECT {selected} FROM {sql} WHERE column{number} IN ({keys})"
        );
        Ok((sql, values))
    }
}

impl<M: ModelTrait, F: ModelTrait> fmt::Debug for Pairs<M, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pairs").field("pairs", &self.pairs).finish_non_exhaustive()
    }
}

/// Inserts rows, in their order: without a conflict clause, and in the form that one can follow.
fn insertion<'r, M: ModelTrait>(
    backend: DbBackend,
    columns: &[Column<M>],
    computed: Option<(Column<M>, &str)>,
    rows: impl IntoIterator<Item = &'r Row>,
) -> Result<(String, Vec<Value>), DbErr> {
    let Table { sql, values, .. } = table(backend, "given", &types::<M>(columns)?, rows)?;
    let (name, mut names, mut selected) = (table_name::<M>(), names::<M>(columns), "*".to_owned());
    if let Some((column, expression)) = computed {
        names = format!("{names}, {}", column.as_str());
        selected = format!("*, {expression}");
    }
    // SQLite would take ON CONFLICT for a part of a join, but for the condition (lang_upsert.html, "Parsing Ambiguity").
    Ok((format!("INSERT INTO {name} ({names}) SELECT {selected} FROM {sql} WHERE true"), values))
}

async fn query_keys<M: ModelTrait>(
    connection: &impl ConnectionTrait,
    sql: String,
    values: Vec<Value>,
    names: &[String],
) -> Result<Vec<Key<M>>, DbErr> {
    let statement = Statement::from_sql_and_values(connection.get_database_backend(), sql, values);
    let rows = connection.query_all_raw(statement).await?;
    rows.iter().map(|row| Ok(Key::<M>::try_get_many(row, "", names)?)).collect()
}

fn types<M: ModelTrait>(columns: &[Column<M>]) -> Result<Vec<&'static str>, DbErr> {
    columns.iter().map(|column| type_name(column.def().get_column_type())).collect()
}

fn names<M: ModelTrait>(columns: &[Column<M>]) -> String {
    columns.iter().map(|column| column.as_str()).collect::<Vec<_>>().join(", ")
}

fn table_name<M: ModelTrait>() -> &'static str {
    M::Entity::default().table_name()
}

fn key_names<M: ModelTrait>() -> Vec<String> {
    <M::Entity as EntityTrait>::PrimaryKey::iter().map(|key| key.into_column().as_str().to_owned()).collect()
}

/// The first column of the primary key: every entity has one.
fn key_column<M: ModelTrait>() -> Column<M> {
    let mut keys = <M::Entity as EntityTrait>::PrimaryKey::iter();
    keys.next().map(|key| key.into_column()).expect("an entity has a primary key")
}
