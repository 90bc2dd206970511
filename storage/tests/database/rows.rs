//! Rows in statements, on both databases: what is written is what is read, and what must not be written fails all of it.

use anyhow::{Result, ensure};
use sea_orm::{ConnectionTrait as _, DbErr, QueryOrder as _, entity::prelude::*};
use storage::{
    Database, DatabaseUrl, Failure, Limits,
    rows::{self, Pairs, Write},
};
use world::{Postgres, Scratch};

mod thing {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "things")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) id: Uuid,
        pub(crate) name: String,
        pub(crate) code: i16,
        pub(crate) count: Option<i64>,
        pub(crate) bytes: Option<Vec<u8>>,
        pub(crate) note: Option<String>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

mod echo {
    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Debug, Clone, PartialEq, Eq, DeriveEntityModel)]
    #[sea_orm(table_name = "echoes")]
    pub(crate) struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub(crate) name: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

const TABLES: [&str; 2] = [
    "CREATE TABLE things (id {uuid} PRIMARY KEY, name TEXT NOT NULL UNIQUE, code {code} NOT NULL, count {int}, bytes {bytes}, note TEXT)",
    "CREATE TABLE echoes (name TEXT PRIMARY KEY)",
];

#[tokio::test]
async fn on_sqlite() -> Result<()> {
    let scratch = Scratch::new("rows")?;
    let url = DatabaseUrl::file(&scratch.path().join("rows.db"));
    check(Database::connect(&url, Limits::default()).await?).await
}

#[tokio::test]
async fn on_postgres() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    check(Database::connect(&url.parse()?, Limits::default()).await?).await?;
    postgres.stop().await
}

async fn check(database: Database) -> Result<()> {
    create_tables(&database).await?;
    what_is_written_is_read(&database).await?;
    a_follower_comes_with_its_row_only(&database).await?;
    writes_are_made_together_or_not_at_all(&database).await?;
    writes_without_a_transaction_are_made_all_or_none(&database).await?;
    database.close().await;
    Ok(())
}

async fn create_tables(database: &Database) -> Result<()> {
    let words = if database.is_embedded() {
        ["BLOB", "INTEGER", "INTEGER", "BLOB"]
    } else {
        ["UUID", "SMALLINT", "BIGINT", "BYTEA"]
    };
    let created = database.transact(move |transaction| {
        Box::pin(async move {
            for sql in TABLES {
                let names = ["{uuid}", "{code}", "{int}", "{bytes}"].into_iter().zip(words);
                let sql = names.fold(sql.to_owned(), |sql, (word, name)| sql.replace(word, name));
                transaction.execute_unprepared(&sql).await?;
            }
            Ok(())
        })
    });
    Ok(created.await?)
}

fn thing(number: u32, name: &str) -> thing::Model {
    thing::Model {
        id: Uuid::from_u128(u128::from(number)),
        name: name.to_owned(),
        code: i16::try_from(number % 1_000).unwrap_or_default(),
        count: (!number.is_multiple_of(3)).then(|| i64::from(number) - 5_000_000_000),
        bytes: (!number.is_multiple_of(4)).then(|| number.to_be_bytes().to_vec()),
        note: (!number.is_multiple_of(5)).then(|| format!("note of {name}")),
    }
}

fn echo(name: &str) -> echo::Model {
    echo::Model { name: name.to_owned() }
}

async fn what_is_written_is_read(database: &Database) -> Result<()> {
    let hostile = [
        "",
        " ",
        "NULL",
        "null",
        "{}",
        "{\"a\"}",
        "a,b",
        "\"",
        "\\",
        "\\\"",
        "'",
        "''; DROP TABLE things; --",
        "$1",
        "\n\t",
        "\u{1f980} ünïcødé",
        "%_",
        "(NULL)",
        "\\x00",
        "}",
    ];
    let mut things: Vec<thing::Model> =
        (0_u32..).zip(hostile).map(|(number, name)| thing(number, name)).collect();
    // More than a statement takes.
    things.extend((100..700).map(|number| thing(number, &format!("thing {number}"))));
    let models = things.clone();
    let inserted = database.transact(move |transaction| {
        let models = models.clone();
        Box::pin(async move { rows::insert(transaction, &models).await })
    });
    inserted.await?;
    let read = thing::Entity::find().order_by_asc(thing::Column::Id).all(database.read()).await?;
    ensure!(read == things, "{} were read", read.len());
    Ok(())
}

async fn a_follower_comes_with_its_row_only(database: &Database) -> Result<()> {
    // The name of the second one is taken.
    let things = [(1_000, "fresh"), (1_001, "thing 100"), (1_002, "fresher")]
        .map(|(number, name)| thing(number, name));
    let echoes = ["fresh", "taken", "fresher"].map(echo).to_vec();
    let inserted = database.transact(move |transaction| {
        let pairs = Pairs::new(transaction.get_database_backend(), &things.each_ref(), &echoes)
            .computing(thing::Column::Note, "'comp' || 'uted'");
        Box::pin(async move { pairs.insert(transaction).await })
    });
    let mut inserted: Vec<Uuid> = inserted.await?;
    inserted.sort();
    ensure!(inserted == [1_000, 1_002].map(|number: u128| Uuid::from_u128(number)), "{inserted:?}");
    let computed = thing::Entity::find().filter(thing::Column::Note.eq("computed"));
    ensure!(computed.count(database.read()).await? == 2);
    let values: Vec<String> = echo::Entity::find()
        .order_by_asc(echo::Column::Name)
        .all(database.read())
        .await?
        .into_iter()
        .map(|echo| echo.name)
        .collect();
    ensure!(values == ["fresh", "fresher"], "{values:?}");
    Ok(())
}

async fn writes_are_made_together_or_not_at_all(database: &Database) -> Result<()> {
    let backend = database.backend();
    let both = async |second: usize| {
        let written = database.transact(move |transaction| {
            Box::pin(async move {
                let mut writes = rows::inserts(backend, &[echo("together")])?;
                let sql = "UPDATE things SET note = $1 WHERE code = $2".to_owned();
                writes.push(Write::new(sql, vec!["changed".into(), 100_i16.into()], second));
                writes.extend(rows::inserts_of_new(backend, &[echo("and more")])?);
                rows::write(transaction, &writes).await
            })
        });
        written.await
    };
    let failure = both(2).await.expect_err("one row has this code");
    ensure!(
        matches!(&failure, Failure::Contention(cause) if matches!(**cause, DbErr::RecordNotUpdated)),
        "{failure:?}"
    );
    ensure!(echo::Entity::find_by_id("together").one(database.read()).await?.is_none());
    both(1).await?;
    ensure!(echo::Entity::find_by_id("and more").one(database.read()).await?.is_some());
    let changed =
        thing::Entity::find().filter(thing::Column::Note.eq("changed")).count(database.read()).await?;
    ensure!(changed == 1, "{changed} were changed");
    // What is there already shows in the count, not by an error of the database.
    let failure = both(1).await.expect_err("it is there already");
    ensure!(matches!(failure, Failure::Refused(_) | Failure::Contention(_)), "{failure:?}");
    Ok(())
}

async fn writes_without_a_transaction_are_made_all_or_none(database: &Database) -> Result<()> {
    let backend = database.backend();
    // A single statement, and what takes several.
    for (case, count) in [("few", 3), ("many", 3_000)] {
        let name = |number: u32| format!("{case} {number}");
        let both = async |rows: usize| {
            let echoes: Vec<_> = (0..count).map(|number| echo(&name(number))).collect();
            let mut writes = rows::inserts_of_new(backend, &echoes)?;
            let sql = "UPDATE things SET note = $1 WHERE code = $2".to_owned();
            writes.push(Write::new(sql, vec![case.into(), 100_i16.into()], rows));
            Ok::<_, DbErr>(database.write_all(writes).await)
        };
        let there = async || {
            let echoes = echo::Entity::find().filter(echo::Column::Name.starts_with(case));
            let changed = thing::Entity::find().filter(thing::Column::Note.eq(case));
            Ok::<_, DbErr>((echoes.count(database.read()).await?, changed.count(database.read()).await?))
        };
        // One row has the code.
        let failure = both(2).await?.expect_err("fewer rows are changed than should be");
        ensure!(matches!(failure, Failure::Refused(_)), "{failure:?}");
        ensure!(there().await? == (0, 0), "{:?} are there", there().await?);
        both(1).await??;
        ensure!(there().await? == (count.into(), 1), "{:?} are there", there().await?);
        let failure = both(1).await?.expect_err("they are there already");
        ensure!(matches!(failure, Failure::Refused(_)), "{failure:?}");
    }
    Ok(())
}
