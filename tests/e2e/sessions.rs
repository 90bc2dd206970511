//! What a service rests on in its sessions with PostgreSQL: kept behind a pooler or noticed when it is dropped, and the same in every language.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use ordermesh::payments::v1::{
    ListAccountsRequest, payments_admin_service_client::PaymentsAdminServiceClient,
};
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::json;
use tonic::{Request, transport::Endpoint};
use world::{Api, PATIENCE, Port, Postgres, Process, Program, Scratch, eventually};

use crate::{
    alone,
    mesh::{ADMIN_TOKEN, EMBEDDED, Mesh},
};

/// What PgBouncer is configured with to take what drivers start sessions with. It drops that in silence.
const IGNORED: &str = "ignore_startup_parameters = extra_float_digits,options\n";

/// PgBouncer of Debian in front of a server.
struct Pooler {
    // Dropped in this order.
    process: Process,
    port: Port,
    _scratch: Scratch,
}

impl Pooler {
    /// In this mode, in front of the server of a database, and with further lines in its configuration.
    async fn start(mode: &str, direct: &str, more: &str) -> Result<Self> {
        let (port, scratch) = (Port::reserve()?, Scratch::new("pgbouncer")?);
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755))?;
        let (users, ini) = (scratch.path().join("users"), scratch.path().join("pgbouncer.ini"));
        fs::write(&users, "\"postgres\" \"\"\n")?;
        let (_, place) = direct.split_once('@').context("a URL")?;
        let (host, server_port) =
            place.split('/').next().and_then(|it| it.split_once(':')).context("a port")?;
        let (users, number) = (users.display(), port.number());
        let text = format!(
            "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {number}\n\
             unix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = {mode}\ndefault_pool_size = 40\n{more}"
        );
        fs::write(&ini, text)?;
        let mut arguments = vec![ini.display().to_string()];
        if nix::unistd::Uid::effective().is_root() {
            // It refuses to run as root.
            arguments.extend(["-u".to_owned(), "postgres".to_owned()]);
        }
        let process = Program::at(Path::new("/usr/sbin/pgbouncer")).args(arguments).start()?;
        let pooler = Self { process, port, _scratch: scratch };
        eventually("PgBouncer", PATIENCE, async || {
            std::net::TcpStream::connect(("127.0.0.1", number))?;
            anyhow::Ok(())
        })
        .await
        .with_context(|| pooler.process.output())?;
        Ok(pooler)
    }

    /// The same database through it.
    fn url(&self, direct: &str) -> Result<String> {
        let (_, database) = direct.rsplit_once('/').context("a database")?;
        Ok(format!("postgres://postgres@127.0.0.1:{}/{database}", self.port.number()))
    }
}

/// What a session has at the moment at which an order is written.
const NOTE: &str = "CREATE TABLE noted (settings TEXT);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN
        INSERT INTO noted VALUES (concat_ws('' '', current_setting(''synchronous_commit''),
            current_setting(''transaction_isolation''), current_setting(''statement_timeout'')));
        RETURN NEW;
    END';
    CREATE TRIGGER note AFTER INSERT ON orders FOR EACH ROW EXECUTE FUNCTION note()";

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

/// Settings, prepared statements and LISTEN belong to a session.
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
        ensure!(orders.output().contains("pool_mode = session"), "{mode} {more}: {}", orders.output());
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
