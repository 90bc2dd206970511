//! TLS with certificates at both ends of every arrow: edge to services, orders to payments, services to the broker and to their databases, and
//! to the issuer.

use anyhow::{Context as _, Result, ensure};
use sea_orm::{ConnectionTrait as _, Database, Statement};
use serde_json::Value;
use world::{
    Certificates, Issuer, PATIENCE, Postgres, Process, Program, RabbitMq, VALID, claims, eventually,
};

use crate::tls_peers::{curl, flags, post};

/// The processes of a mesh, and what they rest on.
struct Secured {
    certificates: Certificates,
    postgres: Postgres,
    rabbitmq: RabbitMq,
}

impl Secured {
    async fn start() -> Result<Self> {
        let certificates = Certificates::make().await?;
        let (postgres, rabbitmq) =
            tokio::try_join!(Postgres::start(), RabbitMq::start_for_certified(&certificates))?;
        postgres.enable_tls_for_certified(&certificates, &["orders", "payments"]).await?;
        Ok(Self { certificates, postgres, rabbitmq })
    }

    /// A service that lets in the edge alone, and shows its certificate to the broker and to its database.
    fn service(&self, name: &str) -> Result<Program> {
        let at = |file: &str| self.certificates.file(file);
        let (cert, key) = (at(&format!("{name}.crt")), at(&format!("{name}.key")));
        Ok(Program::named(name)?
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("DATABASE_URL", self.postgres.certified_url(name, &self.certificates))
            .env("AMQP_URL", self.rabbitmq.amqps_url()?)
            .env("AMQP_CA", at("ca.crt"))
            .env("AMQP_CERT", &cert)
            .env("AMQP_KEY", &key)
            .env("TLS_CERT", cert)
            .env("TLS_KEY", key)
            .env("TLS_CLIENT_CA", at("ca.crt"))
            .env("TLS_CLIENT_SAN", "spiffe://ordermesh/gateway")
            .env("ADMIN_TOKEN", "the-operator"))
    }

    /// An edge of these services, which shows them this certificate.
    fn gateway(&self, orders: &str, payments: &str, shown: &str) -> Result<Program> {
        let at = |file: &str| self.certificates.file(file);
        Ok(Program::named("gateway")?
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--orders-url", orders, "--payments-url", payments])
            .env("TLS_CERT", at("gateway.crt"))
            .env("TLS_KEY", at("gateway.key"))
            .env("UPSTREAM_CA", at("ca.crt"))
            .env("UPSTREAM_CERT", at(&format!("{shown}.crt")))
            .env("UPSTREAM_KEY", at(&format!("{shown}.key"))))
    }
}

/// Where a process serves its callers, by its name.
async fn url(process: &mut Process, listener: &str) -> Result<String> {
    Ok(format!("https://localhost:{}", process.address(listener).await?.port()))
}

#[tokio::test]
async fn an_order_is_paid_with_certificates_at_both_ends_of_every_arrow() -> Result<()> {
    let world = Secured::start().await?;
    let (mut orders, mut payments) = (world.service("orders")?.start()?, world.service("payments")?.start()?);
    let (orders_url, payments_url) =
        (url(&mut orders, "orders-grpc").await?, url(&mut payments, "payments-grpc").await?);
    let mut gateway = world.gateway(&orders_url, &payments_url, "gateway")?.start()?;
    let edge = url(&mut gateway, "http").await?;
    let trusted = flags(&world.certificates, None);
    let call = async |path: &str, body: &str| {
        let said = post(&trusted, &format!("{edge}/gateway/{path}"), body).await?;
        ensure!(said.status == 200, "{path}: {said:?} {}", gateway.output());
        Ok(serde_json::from_str::<Value>(&said.body)?)
    };
    call("payments", r#"{"userId":"alice"}"#).await?;
    call("payments/alice/top-up", r#"{"amount":1000}"#).await?;
    let placed = call("orders", r#"{"userId":"alice","amount":300}"#).await?;
    let order = format!("{edge}/gateway/orders/{}", placed["id"].as_str().unwrap_or_default());
    eventually("the end of the order", PATIENCE, async || {
        let said = curl(&trusted, &order).await?;
        ensure!(said.body.contains("FINISHED"), "{said:?}");
        anyhow::Ok(())
    })
    .await?;
    // The servers say it as well.
    let database = Database::connect(world.postgres.url("postgres")).await?;
    let sql = "SELECT COUNT(*) FILTER (WHERE client_dn = '/CN=' || usename), COUNT(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE usename IN ('orders', 'payments')";
    let row = database.query_one_raw(Statement::from_string(database.get_database_backend(), sql)).await?;
    let row = row.ok_or_else(|| anyhow::anyhow!("a row"))?;
    let (certified, all): (i64, i64) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?);
    ensure!(certified == all && all > 2, "{certified} of {all}");
    database.close().await?;
    let connected = world.rabbitmq.control(&["-q", "list_connections", "peer_cert_subject"]).await?;
    let connected: Vec<&str> = connected.lines().filter(|line| line.contains("CN")).collect();
    for name in ["CN=orders", "CN=payments"] {
        ensure!(connected.contains(&name), "{connected:?}");
    }
    books_are_checked(&world, &orders_url, &payments_url).await?;
    edges_that_are_refused(&world, &orders_url, &payments_url).await?;
    services_that_are_refused(&world).await
}

/// The operator's check calls services as the edge does, and not without its certificate.
async fn books_are_checked(world: &Secured, orders: &str, payments: &str) -> Result<()> {
    let at = |file: &str| world.certificates.file(file);
    let check =
        Program::named("ordermesh")?.args(["check", "--orders-url", orders, "--payments-url", payments]);
    let check = check.env("ADMIN_TOKEN", "the-operator").env("UPSTREAM_CA", at("ca.crt"));
    let shown = check.clone().env("UPSTREAM_CERT", at("gateway.crt")).env("UPSTREAM_KEY", at("gateway.key"));
    eventually("books at rest", PATIENCE, async || {
        let mut shown = shown.start()?;
        let status = shown.wait(PATIENCE).await?;
        ensure!(status.success(), "{}", shown.output());
        anyhow::Ok(())
    })
    .await?;
    let mut bare = check.start()?;
    let status = bare.wait(PATIENCE).await?;
    ensure!(!status.success() && bare.output().contains("cannot"), "{}", bare.output());
    Ok(())
}

/// Of each arrow from the edge to a service, the one end or the other has the wrong certificate: nothing is called.
async fn edges_that_are_refused(world: &Secured, orders: &str, payments: &str) -> Result<()> {
    let (certificates, others) = (&world.certificates, Certificates::make().await?);
    certificates.issue("elsewhere", "DNS:elsewhere.example,URI:spiffe://ordermesh/payments", VALID)?;
    let elsewhere = world.service("payments")?.env("TLS_CERT", certificates.file("elsewhere.crt"));
    let mut elsewhere = elsewhere.env("TLS_KEY", certificates.file("elsewhere.key")).start()?;
    let misnamed = url(&mut elsewhere, "payments-grpc").await?;
    let unshown = |program: Program| program.env("UPSTREAM_CERT", "").env("UPSTREAM_KEY", "");
    for (what, program) in [
        ("another name", world.gateway(orders, payments, "orders")?),
        (
            "another authority",
            world.gateway(orders, payments, "gateway")?.env("UPSTREAM_CA", others.file("ca.crt")),
        ),
        (
            "a stranger",
            world
                .gateway(orders, payments, "gateway")?
                .env("UPSTREAM_CERT", others.file("gateway.crt"))
                .env("UPSTREAM_KEY", others.file("gateway.key")),
        ),
        ("a server of another name", world.gateway(orders, &misnamed, "gateway")?),
        ("plain HTTP", world.gateway(orders, &payments.replace("https", "http"), "gateway")?),
    ] {
        let mut gateway = program.start()?;
        let edge = url(&mut gateway, "http").await?;
        let said = curl(&flags(certificates, None), &format!("{edge}/gateway/payments/alice")).await?;
        ensure!(said.status == 503 && said.body.contains("UPSTREAM_UNAVAILABLE"), "{what}: {said:?}");
        // A write is known not to have been made, except where it was sent in the clear.
        let path = format!("{edge}/gateway/payments");
        let written = post(&flags(certificates, None), &path, r#"{"userId":"mallory"}"#).await?;
        let reason = if what == "plain HTTP" { "OUTCOME_UNKNOWN" } else { "UPSTREAM_UNAVAILABLE" };
        ensure!(written.status == 503 && written.body.contains(reason), "{what}: {written:?}");
    }
    // An empty variable is no file.
    let mut gateway = unshown(world.gateway(orders, payments, "gateway")?).start()?;
    ensure!(!gateway.wait(PATIENCE).await?.success(), "{}", gateway.output());
    Ok(())
}

/// A service that the database or the broker does not let in, or that does not believe them, says so.
async fn services_that_are_refused(world: &Secured) -> Result<()> {
    let (certificates, others) = (&world.certificates, Certificates::make().await?);
    let url = world.postgres.certified_url("orders", certificates);
    let key = |name: &str| {
        url.replace("orders.crt", &format!("{name}.crt")).replace("orders.key", &format!("{name}.key"))
    };
    let bare = url.split("&sslcert").next().unwrap_or_default();
    for (url, reason) in [
        (key("payments"), "certificate authentication failed for user \"orders\""),
        (bare.to_owned(), "connection requires a valid client certificate"),
        (url.replace(&certificates.file("ca.crt"), &others.file("ca.crt")), "invalid peer certificate"),
        (url.replace("verify-full", "disable"), "no pg_hba.conf entry"),
    ] {
        let mut orders = world.service("orders")?.env("DATABASE_URL", &url).start()?;
        let status = orders.wait(PATIENCE).await?;
        ensure!(!status.success() && orders.output().contains(reason), "{reason}: {}", orders.output());
    }
    let refused: [(&[(&str, String)], &str); 2] = [
        (&[("AMQP_CERT", others.file("orders.crt")), ("AMQP_KEY", others.file("orders.key"))], "alert"),
        (&[("AMQP_CA", others.file("ca.crt"))], "invalid peer certificate"),
    ];
    for (env, reason) in refused {
        let service = world.service("orders")?;
        let service = env.iter().fold(service, |service, (name, value)| service.env(name, value));
        let mut orders = service.start()?;
        orders.address("admin").await?;
        let line = orders.line_with(reason).await?;
        ensure!(line.contains("WARN") || line.contains("ERROR"), "{line}");
    }
    Ok(())
}

/// Orders asks payments on its own, as the edge calls it: payments has to have the certificate of its authority, and to list that of orders.
#[tokio::test]
async fn orders_and_payments_are_compared_with_certificates_at_both_ends() -> Result<()> {
    let (world, others) = (Secured::start().await?, Certificates::make().await?);
    let at = |file: &str| world.certificates.file(file);
    let listed = "spiffe://ordermesh/gateway,spiffe://ordermesh/orders";
    let mut payments = world.service("payments")?.env("TLS_CLIENT_SAN", listed).start()?;
    let payments_url = format!("https://{}", payments.address("payments-grpc").await?);
    let token = ["-H", "authorization: Bearer the-operator"].map(str::to_owned);
    let operator = [flags(&world.certificates, None), token.to_vec()].concat();
    // The last one is right.
    for (what, authority, shown, problem) in [
        ("another authority", others.file("ca.crt"), "orders", "invalid peer certificate"),
        ("a name that is not listed", at("ca.crt"), "client", "cannot compare orders with payments"),
        ("both certificates", at("ca.crt"), "orders", ""),
    ] {
        let mut orders = world
            .service("orders")?
            .env("PAYMENTS_URL", &payments_url)
            .env("UPSTREAM_CA", authority)
            .env("UPSTREAM_CERT", at(&format!("{shown}.crt")))
            .env("UPSTREAM_KEY", at(&format!("{shown}.key")))
            .env("RECONCILE_EVERY", "200ms")
            .env("RECONCILE_SETTLE", "700ms")
            .start()?;
        let path = format!("{}/admin/v1/orders/reconciliation", url(&mut orders, "admin").await?);
        if !problem.is_empty() {
            let line = orders.line_with(problem).await.context(what)?;
            let is_named = line.contains("WARN") && line.contains("cannot compare orders with payments");
            ensure!(is_named, "{what}: {line}");
        }
        eventually(what, PATIENCE, async || {
            let said = curl(&operator, &path).await?;
            ensure!(said.status == 200, "{said:?}");
            let answer: Value = serde_json::from_str(&said.body)?;
            let error = answer["error"].as_str().unwrap_or_default();
            let is_expected = if problem.is_empty() {
                error.is_empty() && answer["comparedTime"].is_string() && answer["sweepEndTime"].is_string()
            } else {
                error.contains("unavailable") && answer["comparedTime"].is_null()
            };
            ensure!(is_expected, "{}", said.body);
            anyhow::Ok(())
        })
        .await?;
        // The next one compares as soon as this one has ended.
        orders.terminate()?;
        ensure!(orders.wait(PATIENCE).await?.success(), "{what}: {}", orders.output());
    }
    Ok(())
}

#[tokio::test]
async fn the_keys_of_an_issuer_come_from_a_private_authority() -> Result<()> {
    let (certificates, others) = (Certificates::make().await?, Certificates::make().await?);
    let issuer = Issuer::start_with_tls(&certificates).await?;
    let token = issuer.token("first", &claims("alice", "payments:write", 600)).await?;
    for (authority, status) in [(&certificates, 200), (&others, 503)] {
        let mut mesh = Program::named("ordermesh")?
            .args(["up", "--http", "127.0.0.1:0", "--orders-grpc", "127.0.0.1:0"])
            .args(["--payments-grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("AUTH_ISSUER", world::ISSUER)
            .env("AUTH_JWKS", issuer.jwks_url_over_tls()?)
            .env("AUTH_JWKS_CA", authority.file("ca.crt"))
            .start()?;
        let edge = world::Api::new(format!("http://{}", mesh.address("http").await?))?.with_token(&token);
        let opened = edge.post("/gateway/payments", &serde_json::json!({})).await?;
        ensure!(opened.status == status, "{} {}", opened.text, mesh.output());
    }
    ensure!(issuer.fetches().await? >= 1);
    Ok(())
}
