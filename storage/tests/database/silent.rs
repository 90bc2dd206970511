//! A server that says nothing any more while its connections stay: a machine that is gone, a firewall, a process that hangs. Every call
//! ends within its deadline, and work goes on over new connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use sea_orm::{ConnectionTrait as _, DatabaseConnection, DbBackend, Statement};
use storage::{Database, Failure, Limits};
use tokio::{
    io::{copy, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, timeout},
};
use world::{PATIENCE, Postgres, eventually};

const DEADLINE: Duration = Duration::from_secs(2);
/// For a new connection and the statement, on a busy machine.
const SOON: Duration = Duration::from_secs(2);
/// How long the server keeps a session whose machine takes nothing of it (`tcp_user_timeout`), and for what the kernel rounds that up to.
const GIVEN_UP: Duration = Duration::from_secs(20);
const ROUNDED: Duration = Duration::from_secs(10);
/// A listener to which nothing comes probes its connection after 5 s, and waits for the answer for as long.
const LISTENER: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_backends_stop_nobody() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let elsewhere = sea_orm::Database::connect(&url).await?;
    let database = connect(&url).await?;
    let mut frozen = Vec::new();
    goes_on(&database, async || {
        let of_ours = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'ordermesh'";
        for row in elsewhere.query_all_raw(sql(of_ours)).await? {
            frozen.push(u32::try_from(row.try_get_by_index::<i32>(0)?)?);
        }
        ensure!(frozen.len() >= 3, "hardly any connection: {frozen:?}");
        postgres.freeze(&frozen, true)
    })
    .await?;
    is_kept(&elsewhere).await?;
    // A frozen process does not stop.
    postgres.freeze(&frozen, false)?;
    drop(database);
    postgres.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_that_forwards_nothing_stops_nobody() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let elsewhere = sea_orm::Database::connect(&url).await?;
    let server: SocketAddr = url.split(['@', '/']).nth(3).context("a URL has a host")?.parse()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (silence, silent) = watch::channel(());
    tokio::spawn(forward(listener, server, silent));
    let database = connect(&url.replace(&server.to_string(), &address.to_string())).await?;
    goes_on(&database, async || Ok(silence.send(())?)).await?;
    is_kept(&elsewhere).await?;
    drop(database);
    postgres.stop().await
}

/// What a session holds is given back although its machine neither takes what the server sends nor closes the connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_gives_up_a_session_whose_machine_is_gone() -> Result<()> {
    let mut postgres = Postgres::start().await?;
    let url = postgres.fresh_database().await?;
    let elsewhere = sea_orm::Database::connect(&url).await?;
    elsewhere.execute_unprepared("CREATE TABLE notes (id BIGINT PRIMARY KEY)").await?;
    let server: SocketAddr = url.split(['@', '/']).nth(3).context("a URL has a host")?.parse()?;
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (silence, silent) = watch::channel(());
    tokio::spawn(forward_answers(listener, server, silent));
    let database = connect(&url.replace(&server.to_string(), &address.to_string())).await?;
    let silence = Arc::new(silence);
    let held = database.transact(move |transaction| {
        let silence = Arc::clone(&silence);
        Box::pin(async move {
            transaction.execute_raw(insert(1)).await?;
            // More than the sockets in between hold: the server cannot go on.
            silence.send_replace(());
            let much = sql("SELECT repeat('x', 1000000) FROM generate_series(1, 200)");
            transaction.query_all_raw(much).await.map(drop)
        })
    });
    let failed = held.await;
    ensure!(matches!(failed, Err(Failure::Unavailable(_))), "{failed:?}");
    let began = Instant::now();
    let free = timeout(GIVEN_UP + ROUNDED, elsewhere.execute_raw(insert(1))).await;
    free.context("the session still holds its row")??;
    ensure!(began.elapsed() > SOON, "nothing was held: {:?}", began.elapsed());
    drop(database);
    postgres.stop().await
}

/// Forwards every connection, of those that are open at the next change of `silent` only what goes to the server from then on. Nothing is closed.
async fn forward_answers(
    listener: TcpListener,
    server: SocketAddr,
    silent: watch::Receiver<()>,
) -> Result<()> {
    loop {
        let (client, _) = listener.accept().await?;
        let mut silent = silent.clone();
        silent.mark_unchanged();
        tokio::spawn(async move {
            let server = TcpStream::connect(server).await?;
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) = server.into_split();
            let requests = async {
                let _ended = copy(&mut from_client, &mut to_server).await;
                std::future::pending::<()>().await;
            };
            let answers = async {
                tokio::select! {
                    _ended = copy(&mut from_server, &mut to_client) => {}
                    _ = silent.changed() => {}
                }
                std::future::pending::<()>().await;
            };
            tokio::join!(requests, answers);
            anyhow::Ok(())
        });
    }
}

/// Forwards every connection until the next change of `silent`. What was open then stays open, and nothing goes through.
async fn forward(listener: TcpListener, server: SocketAddr, silent: watch::Receiver<()>) -> Result<()> {
    loop {
        let (mut client, _) = listener.accept().await?;
        let mut silent = silent.clone();
        silent.mark_unchanged();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(server).await?;
            tokio::select! {
                done = copy_bidirectional(&mut client, &mut server) => done.map(drop),
                _ = silent.changed() => std::future::pending().await,
            }
        });
    }
}

async fn connect(url: &str) -> Result<Database> {
    let limits = Limits { statement_timeout: DEADLINE, ..Limits::default() };
    Ok(Database::connect(&url.parse()?, limits).await?)
}

/// Uses connections of every kind, before and after `silence`.
async fn goes_on(database: &Database, silence: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    database.read().execute_unprepared("CREATE TABLE notes (id BIGINT PRIMARY KEY)").await?;
    let mut listener = database.listen("wake-ups").await?;
    for id in [1, 2] {
        write(database, id).await?;
        write_at_once(database, id + 10).await?;
        read(database).await?;
    }
    silence().await?;

    // Each is answered within its deadline.
    let began = Instant::now();
    let results =
        tokio::join!(timed(write(database, 3)), timed(write_at_once(database, 13)), timed(read(database)));
    for (outcome, took) in [results.0, results.1, results.2] {
        ensure!(took < DEADLINE + SOON, "{outcome:?} after {took:?}");
        let passes = outcome.as_ref().map_or_else(Failure::passes, |()| true);
        ensure!(passes, "{outcome:?}");
    }
    // And whoever comes then is served.
    for id in 4..8 {
        for (outcome, took) in [
            timed(write(database, id)).await,
            timed(write_at_once(database, id + 10)).await,
            timed(read(database)).await,
        ] {
            outcome?;
            ensure!(took < SOON, "{took:?} after the silence was noticed");
        }
    }
    ensure!(began.elapsed() < LISTENER + PATIENCE);
    let lost = timeout(LISTENER + SOON, listener.notified()).await.context("a silent listener waits")?;
    ensure!(matches!(lost, Err(Failure::Unavailable(_))), "{lost:?}");
    let mut listener = database.listen("wake-ups").await?;
    eventually("the wake-up", PATIENCE, async || {
        database.notify("wake-ups").await?;
        timeout(SOON, listener.notified()).await.context("not notified")??;
        anyhow::Ok(())
    })
    .await
}

/// Those that were acknowledged.
async fn is_kept(elsewhere: &DatabaseConnection) -> Result<()> {
    let found = elsewhere.query_all_raw(sql("SELECT id FROM notes")).await?;
    let found = found.iter().map(|row| row.try_get_by_index(0)).collect::<Result<Vec<i64>, _>>()?;
    for id in [1, 2, 4, 5, 6, 7] {
        ensure!(found.contains(&id) && found.contains(&(id + 10)), "{id} is not in {found:?}");
    }
    Ok(())
}

async fn timed(call: impl Future<Output = Result<(), Failure>>) -> (Result<(), Failure>, Duration) {
    let began = Instant::now();
    let outcome = call.await;
    (outcome, began.elapsed())
}

async fn write(database: &Database, id: i64) -> Result<(), Failure> {
    let written = database.transact(move |transaction| {
        Box::pin(async move { transaction.execute_raw(insert(id)).await.map(drop) })
    });
    written.await
}

async fn write_at_once(database: &Database, id: i64) -> Result<(), Failure> {
    let written = database
        .execute(move |executor| Box::pin(async move { executor.execute_raw(insert(id)).await.map(drop) }));
    written.await
}

async fn read(database: &Database) -> Result<(), Failure> {
    Ok(database.read().query_all_raw(sql("SELECT id FROM notes")).await.map(drop)?)
}

fn insert(id: i64) -> Statement {
    Statement::from_sql_and_values(DbBackend::Postgres, "INSERT INTO notes VALUES ($1)", [id.into()])
}

fn sql(text: &str) -> Statement {
    Statement::from_string(DbBackend::Postgres, text)
}
