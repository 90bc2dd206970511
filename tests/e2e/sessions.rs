//! What a service rests on in its sessions with PostgreSQL: kept behind a pooler or noticed when it is dropped, and the same in every language.

use anyhow::{Context as _, Result, bail, ensure};
use ordermesh::payments::v1::{
    ListAccountsRequest, payments_admin_service_client::PaymentsAdminServiceClient,
};
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::json;
use tonic::{Request, transport::Endpoint};
use world::{Api, PATIENCE, Postgres, Program};

use crate::{
    alone,
    mesh::{ADMIN_TOKEN, EMBEDDED, Mesh},
    pooler::{IGNORED, NOTE, Pooler},
};

/// With either configuration: the settings are given by statements, and hold against those of the role.
#[tokio::test]
async fn a_pooler_of_sessions_is_used_and_drops_no_setting() -> Result<()> {
    let postgres = Postgres::start().await?;
    let role = "ALTER ROLE postgres SET synchronous_commit = 'off'; \
                ALTER ROLE postgres SET default_transaction_isolation = 'serializable'";
    alone::run(&postgres.fresh_database().await?, role).await?;
    for more in ["", IGNORED] {
        let direct = postgres.fresh_database().await?;
        let pooler = Pooler::start("session", &direct, more).await?;
        let mut orders = alone::program("orders", &pooler.url(&direct)?, alone::NO_BROKER)?.start()?;
        let mut client = alone::orders(&mut orders).await?;
        alone::run(&direct, NOTE).await?;
        for _order in 0..3 {
            alone::place(&mut client, "alice").await?;
        }
        let kept = "SELECT COUNT(*) FROM noted WHERE settings = 'on read committed 9s'";
        ensure!(alone::number(&direct, kept).await? == 3, "{more}");
        ensure!(orders.output().contains("a pooler in between"), "{more}: {}", orders.output());
    }
    Ok(())
}

/// Settings, prepared statements and LISTEN belong to a session, unless it is said that nothing rests on one.
#[tokio::test]
async fn a_pooler_of_transactions_is_refused() -> Result<()> {
    let postgres = Postgres::start().await?;
    let direct = postgres.fresh_database().await?;
    let in_turn = format!("{IGNORED}server_round_robin = 1\nmin_pool_size = 5\n");
    for (mode, more) in
        [("transaction", ""), ("transaction", IGNORED), ("transaction", &in_turn), ("statement", "")]
    {
        let pooler = Pooler::start(mode, &direct, more).await?;
        let mut orders = alone::program("orders", &pooler.url(&direct)?, alone::NO_BROKER)?.start()?;
        let status = orders.wait(PATIENCE).await?;
        ensure!(!status.success(), "{mode} {more}: {}", orders.output());
        for advice in ["--prepared-statements off", "pool_mode = session"] {
            ensure!(orders.output().contains(advice), "{mode} {more}: {}", orders.output());
        }
    }
    Ok(())
}

async fn all_accounts(payments: String) -> Result<Vec<String>> {
    let channel = Endpoint::from_shared(format!("http://{payments}"))?.connect().await?;
    let mut admin = PaymentsAdminServiceClient::new(channel);
    let (mut users, mut page_token) = (Vec::new(), String::new());
    loop {
        let mut request = Request::new(ListAccountsRequest { page_size: 2, page_token });
        request.metadata_mut().insert("authorization", format!("Bearer {ADMIN_TOKEN}").parse()?);
        let page = admin.list_accounts(request).await?.into_inner();
        users.extend(page.accounts.into_iter().map(|account| account.user_id));
        if page.next_page_token.is_empty() {
            return Ok(users);
        }
        page_token = page.next_page_token;
    }
}

async fn open_accounts(api: &Api, users: &[&str]) -> Result<()> {
    for user in users {
        let opened = api.post("/gateway/payments", &json!({ "userId": user })).await?;
        ensure!(opened.status == 200, "{}", opened.text);
    }
    Ok(())
}

/// English sorts `a` before `B`, and passes over punctuation at first: a list goes by the bytes, wherever it is kept.
#[tokio::test]
async fn lists_have_one_order_in_every_language() -> Result<()> {
    let users = ["b", "A", "a", "B", "x.y", "xz", "x-y", "X_y", "10", "9"];
    let mut sorted = users.map(str::to_owned).to_vec();
    sorted.sort();
    let embedded = Mesh::start(EMBEDDED).await?;
    open_accounts(&embedded.api, &users).await?;
    ensure!(all_accounts(embedded.payments.to_string()).await? == sorted, "SQLite");

    let postgres = Postgres::start().await?;
    let admin = Database::connect(postgres.url("postgres")).await?;
    let create = "CREATE DATABASE english TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US'";
    admin.execute_unprepared(create).await?;
    admin.close().await?;
    let mut english = Program::named("ordermesh")?
        .args(["--http", "127.0.0.1:0", "--orders-grpc", "127.0.0.1:0"])
        .args(["--payments-grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("PAYMENTS_DATABASE_URL", postgres.url("english"))
        .env("ADMIN_TOKEN", ADMIN_TOKEN)
        .start()?;
    let api = Api::new(format!("http://{}", english.address("http").await?))?;
    open_accounts(&api, &users).await?;
    let listed = all_accounts(english.address("payments-grpc").await?.to_string()).await?;
    ensure!(listed == sorted, "PostgreSQL in English: {listed:?}");
    Ok(())
}

#[tokio::test]
async fn the_number_of_connections_is_a_setting() -> Result<()> {
    let postgres = Postgres::start().await?;
    postgres.create_database("orders").await?;
    let orders = Program::named("orders")?
        .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .env("DATABASE_URL", postgres.url("orders"));
    let mut refused = orders.clone().args(["--database-connections", "3"]).start()?;
    ensure!(!refused.wait(PATIENCE).await?.success());
    ensure!(refused.output().contains("--database-connections: must be at least 4"), "{}", refused.output());

    let mut running = orders.env("DATABASE_CONNECTIONS", "4").start()?;
    let grpc = running.address("orders-grpc").await?;
    let channel = Endpoint::from_shared(format!("http://{grpc}"))?.connect().await?;
    let calls = (0..200).map(|_| {
        let mut client =
            ordermesh::orders::v1::orders_service_client::OrdersServiceClient::new(channel.clone());
        async move { client.list_orders(ordermesh::orders::v1::ListOrdersRequest::default()).await }
    });
    futures_util::future::try_join_all(calls).await?;
    let admin = Database::connect(postgres.url("postgres")).await?;
    let count = Statement::from_string(
        admin.get_database_backend(),
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'ordermesh'",
    );
    let open: i64 = admin.query_one_raw(count).await?.context("a row")?.try_get_by_index(0)?;
    // Twice the number, 8 for single statements, 2 that listen.
    if open > 18 {
        bail!("{open} connections are open");
    }
    Ok(())
}
