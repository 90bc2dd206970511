//! Secrets: planted everywhere, through every door, and looked for in all that a process shows.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use world::{Api, PATIENCE, Postgres, Process, Program, RabbitMq, Scratch, eventually};

use crate::collector::Collector;

/// A part of every secret here, and of nothing else.
const MARK: &str = "p1anted";

const TOKEN: &str = "token-p1anted";

/// Delimiters of a URL, which take a password apart in a careless reader's hands.
const HARD: &str = "p1anted-w0rd@p1anted";

fn shows_nothing(what: &str, shown: &str) -> Result<()> {
    ensure!(!shown.contains(MARK), "{what} shows a secret: {shown}");
    Ok(())
}

/// A PostgreSQL user with a hard password, who is asked for it.
async fn databases(postgres: &Postgres) -> Result<[String; 2]> {
    let urls = [postgres.fresh_database().await?, postgres.fresh_database().await?];
    for (url, user) in urls.iter().zip(["orders", "payments"]) {
        let admin = sea_orm::Database::connect(url).await?;
        for sql in [
            format!("CREATE ROLE {user} LOGIN PASSWORD '{HARD}'"),
            format!("GRANT CREATE ON SCHEMA public TO {user}"),
        ] {
            sea_orm::ConnectionTrait::execute_unprepared(&admin, &sql).await?;
        }
        admin.close().await?;
    }
    let encoded = HARD.replace('@', "%40");
    let with_password = |url: &String, user: &str| url.replace("postgres@", &format!("{user}:{encoded}@"));
    Ok([with_password(&urls[0], "orders"), with_password(&urls[1], "payments")])
}

fn program(name: &str, format: &str) -> Result<Program> {
    let program = Program::named(name)?.env("LOG_FORMAT", format).env("RUST_BACKTRACE", "1");
    Ok(match name {
        "ordermesh" => program.args(["--http", "127.0.0.1:0", "--orders-grpc", "127.0.0.1:0"]).args([
            "--payments-grpc",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
        ]),
        _ => program.args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]),
    }
    .env("LOG_FILTER", "trace"))
}

/// The secrets of a binary by the names of their variables.
fn secrets(name: &str, [orders, payments]: &[String; 2], amqp: &str) -> Vec<(&'static str, String)> {
    let token = ("ADMIN_TOKEN", TOKEN.to_owned());
    let amqp = ("AMQP_URL", amqp.to_owned());
    match name {
        "orders" => vec![("DATABASE_URL", orders.clone()), amqp, token],
        "payments" => vec![("DATABASE_URL", payments.clone()), amqp, token],
        _ => vec![
            ("ORDERS_DATABASE_URL", orders.clone()),
            ("PAYMENTS_DATABASE_URL", payments.clone()),
            amqp,
            token,
        ],
    }
}

/// Puts each secret into a file, as they come from an editor or a secret store.
fn in_files(program: Program, secrets: &[(&str, String)], folder: &Path) -> Result<Program> {
    secrets.iter().try_fold(program, |program, (name, secret)| {
        let file = folder.join(name);
        fs::write(&file, format!("{secret}\n"))?;
        Ok(program.env(&format!("{name}_FILE"), file.display().to_string()))
    })
}

async fn ended(process: &mut Process) -> Result<String> {
    process.wait(PATIENCE).await?;
    Ok(process.output())
}

/// A whole run: everything that it writes and serves.
async fn run(mut process: Process) -> Result<()> {
    let admin = Api::new(format!("http://{}", process.address("admin").await?))?;
    for path in ["/readyz", "/livez", "/metrics"] {
        shows_nothing(path, &admin.get(path).await?.text)?;
    }
    process.terminate()?;
    let status = process.wait(PATIENCE).await?;
    ensure!(status.success(), "{status}: {}", process.output());
    let shown = process.output();
    shows_nothing("a run", &shown)?;
    // It is known which database it was all the same.
    ensure!(shown.contains("orders@127.0.0.1") || shown.contains("payments@127.0.0.1"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn a_whole_run_shows_none() -> Result<()> {
    let (postgres, rabbitmq) = (Postgres::start().await?, RabbitMq::shared().await?);
    let databases = databases(&postgres).await?;
    let scratch = Scratch::new("secrets")?;
    // The broker refuses this user: that is logged, again and again.
    let amqp = rabbitmq.amqp_url().replace("guest:guest@", "guest:p1anted%40p1anted@");
    ensure!(amqp.contains(MARK), "{amqp}");
    for (name, format) in [("orders", "human"), ("payments", "json"), ("ordermesh", "json")] {
        let secrets = secrets(name, &databases, &amqp);
        let in_variables = |program: Program| {
            secrets.iter().fold(program, |program, (name, secret)| program.env(name, secret))
        };
        run(in_variables(program(name, format)?).start()?)
            .await
            .with_context(|| format!("{name}, variables"))?;
        run(in_files(program(name, format)?, &secrets, scratch.path())?.start()?)
            .await
            .with_context(|| format!("{name}, files"))?;

        let help = ended(&mut in_variables(program(name, format)?.args(["--help"])).start()?).await?;
        shows_nothing("--help", &help)?;
        ensure!(help.contains("ADMIN_TOKEN_FILE") && help.contains("AMQP_URL_FILE"), "{help}");

        let both = in_files(in_variables(program(name, format)?), &secrets, scratch.path())?;
        let both = ended(&mut both.start()?).await?;
        shows_nothing("an error of the settings", &both)?;
        for flag in ["--admin-token-file", "--amqp-url-file", "database-url-file"] {
            ensure!(both.contains(flag), "{flag} is not named: {both}");
        }
    }
    Ok(())
}

/// What callers send: an edge and the services behind it, all of which log as much as they can.
#[tokio::test]
async fn what_callers_send_is_shown_nowhere() -> Result<()> {
    let mut services = program("ordermesh", "json")?.env("ADMIN_TOKEN", TOKEN).start()?;
    let (orders, payments) =
        (services.address("orders-grpc").await?, services.address("payments-grpc").await?);
    let operators = Api::new(format!("http://{}", services.address("admin").await?))?;
    let mut gateway = program("gateway", "json")?
        .env("ORDERS_URL", format!("http://{orders}"))
        .env("PAYMENTS_URL", format!("http://{payments}"))
        .start()?;
    let edge = Api::new(format!("http://{}", gateway.address("http").await?))?;
    let admin = Api::new(format!("http://{}", gateway.address("admin").await?))?;
    for api in [&edge, &Api::new(format!("http://{}", services.address("http").await?))?] {
        let order = serde_json::json!({ "userId": "alice", "amount": 1 });
        let answer = api.with_token(TOKEN).post("/gateway/orders", &order).await?;
        ensure!(answer.status == 200, "{}", answer.text);
        shows_nothing("an answer", &answer.text)?;
    }
    for (token, status) in [(TOKEN, 200), ("p1anted", 401)] {
        let answer = operators.with_token(token).get("/admin/v1/orders/status").await?;
        ensure!(answer.status == status, "{} {}", answer.status, answer.text);
        shows_nothing("an answer", &answer.text)?;
    }
    for api in [&admin, &operators] {
        shows_nothing("/metrics", &api.get("/metrics").await?.text)?;
    }
    for process in [&mut gateway, &mut services] {
        process.terminate()?;
        let shown = ended(process).await?;
        ensure!(shown.contains("TRACE"), "hardly anything is logged");
        shows_nothing("a run", &shown)?;
    }
    Ok(())
}

/// What a process sends by itself: orders a token to payments, and both of them headers to a collector.
#[tokio::test]
async fn what_is_sent_to_others_is_shown_nowhere() -> Result<()> {
    let (collector, scratch) = (Collector::start().await?, Scratch::new("sent")?);
    let (file, operators) = (scratch.path().join("payments.token"), "operator-p1anted");
    fs::write(&file, format!("{TOKEN}\n"))?;
    let service = |name: &str| {
        let database = format!("sqlite:{}/{name}.db", scratch.path().display());
        let program = program(name, "json")?.env("DATABASE_URL", database);
        let program =
            program.env("AMQP_URL", "amqp://guest:p1anted@127.0.0.1:1/%2f").env("ADMIN_TOKEN", TOKEN);
        let program = program.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url());
        anyhow::Ok(program.env("OTEL_EXPORTER_OTLP_HEADERS", format!("authorization=Bearer%20{TOKEN}")))
    };
    let mut payments = service("payments")?.start()?;
    let program = service("orders")?
        .env("ADMIN_TOKEN", operators)
        .env("PAYMENTS_URL", format!("http://{}", payments.address("payments-grpc").await?))
        .env("PAYMENTS_TOKEN_FILE", file.display().to_string())
        .env("RECONCILE_EVERY", "200ms")
        .env("RECONCILE_SETTLE", "200ms");
    let mut orders = program.start()?;
    let operator = Api::new(format!("http://{}", orders.address("admin").await?))?.with_token(operators);
    let says = async |problem: &str| {
        eventually(&format!("{problem:?}"), PATIENCE, async || {
            let answer = operator.get("/admin/v1/orders/reconciliation").await?;
            let error = answer.body["error"].as_str().unwrap_or_default();
            let is_said = if problem.is_empty() { error.is_empty() } else { error.contains(problem) };
            ensure!(
                answer.status == 200 && answer.body["comparedTime"].is_string() && is_said,
                "{}",
                answer.text
            );
            shows_nothing("an answer", &answer.text)
        })
        .await
    };
    says("").await?;
    // The collector is shown them.
    let digest = "ordermesh.payments.v1.PaymentsAdminService/DigestDecisions";
    let is_shown = format!("Bearer {TOKEN}");
    collector.span("payments", digest, |span| span.authorization == is_shown).await?;
    fs::write(&file, "p1anted\np1anted")?;
    says("printable ASCII").await?;
    fs::remove_file(&file)?;
    says("cannot read").await?;
    shows_nothing("/metrics", &operator.get("/metrics").await?.text)?;
    for process in [&mut orders, &mut payments] {
        process.terminate()?;
        let shown = ended(process).await?;
        ensure!(shown.contains("TRACE"), "hardly anything is logged");
        shows_nothing("a run", &shown)?;
    }
    let help = ended(&mut program.args(["--help"]).start()?).await?;
    ensure!(help.contains("PAYMENTS_TOKEN_FILE"), "{help}");
    shows_nothing("--help", &help)
}

/// A panic with its backtrace, and the end that it brings about.
#[tokio::test]
async fn a_process_that_panics_shows_none() -> Result<()> {
    let postgres = Postgres::start().await?;
    let databases = databases(&postgres).await?;
    for format in ["human", "json"] {
        let secrets = secrets("ordermesh", &databases, "amqp://guest:p1anted@127.0.0.1:1/%2f");
        let program = program("ordermesh", format)?.env("FAILPOINTS", "writer_dies=return");
        let program = secrets.iter().fold(program, |program, (name, secret)| program.env(name, secret));
        let mut process = program.start()?;
        let edge = Api::new(format!("http://{}", process.address("http").await?))?.with_token(TOKEN);
        // It may end before it answers.
        if let Ok(answer) = edge.post("/gateway/payments", &serde_json::json!({ "userId": "writer" })).await {
            ensure!(!answer.status.is_success(), "{}", answer.text);
            shows_nothing("an answer", &answer.text)?;
        }
        let status = process.wait(PATIENCE).await?;
        let shown = process.output();
        let has_panicked = shown.contains("panicked at") && shown.contains("stack backtrace");
        ensure!(status.code() == Some(1) && has_panicked, "{status}: {shown}");
        shows_nothing("a panic", &shown)?;
    }
    Ok(())
}

/// URLs that are none, or not those that were meant.
#[tokio::test]
async fn what_cannot_be_read_is_not_quoted() -> Result<()> {
    for url in [
        "p1anted",
        "postgres://o:p1anted",
        "postgres://o:12/p1anted@127.0.0.1:1/orders",
        "postgres://o:12?p1anted@127.0.0.1:1/orders",
        "postgres://o:p1anted@127.0.0.1:port/orders",
        "postgres://o:p1anted@w0rd@127.0.0.1:1/orders",
        "postgres://o:p1anted@127.0.0.1:1/orders?passwd=p1anted",
        "postgres://o:p@127.0.0.1:1/orders?sslmode=p1anted",
    ] {
        for (name, flags) in [
            ("orders", &["DATABASE_URL"][..]),
            ("ordermesh", &["ORDERS_DATABASE_URL", "PAYMENTS_DATABASE_URL"]),
        ] {
            let broken = flags.iter().fold(program(name, "json")?, |program, flag| program.env(flag, url));
            let broken = broken.env("AMQP_URL", url.replace("postgres", "amqp"));
            let broken = broken.env("ADMIN_TOKEN", "p1anted\u{e4}");
            let mut process = broken.start()?;
            let status = process.wait(Duration::from_secs(60)).await?;
            ensure!(!status.success());
            shows_nothing(url, &process.output())?;
            ensure!(process.output().contains("atabase-url") || url.contains("w0rd"), "{}", process.output());
        }
    }
    let gateway = program("gateway", "json")?
        .env("ORDERS_URL", "http://u:p1anted@127.0.0.1:5001")
        .env("PAYMENTS_URL", "http ://u:p1anted@127.0.0.1:5001")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://u:p1anted@127.0.0.1:4317");
    let check = Program::named("ordermesh")?.env("ADMIN_TOKEN", "any").args(["check"]);
    let check =
        check.args(["--orders-url", "http://u:p1anted@127.0.0.1:1", "--payments-url", "http://127.0.0.1:1"]);
    shows_nothing("the check", &ended(&mut check.start()?).await?)?;
    let forgotten = program("orders", "human")?.args(["postgres://o:p1anted@db/orders"]);
    let shown = ended(&mut forgotten.start()?).await?;
    ensure!(shown.contains("postgres://o@db/orders"), "{shown}");
    shows_nothing("a flag that was forgotten", &shown)?;
    shows_nothing("the gateway", &ended(&mut gateway.start()?).await?)?;
    shows_nothing("its help", &ended(&mut gateway.args(["--help"]).start()?).await?)
}

/// Every line on standard error is an object, from the first to the last, whatever ends the process.
#[tokio::test]
async fn starts_and_their_errors_are_json_lines() -> Result<()> {
    let run = Program::named("ordermesh")?.args(["--log-format", "json"]);
    let run = run.args(["--http", "127.0.0.1:0", "--orders-grpc", "127.0.0.1:0"]);
    let run = run.args(["--payments-grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let mut process = run.start()?;
    process.address("admin").await?;
    process.terminate()?;
    ended(&mut process).await?;
    // The contract of standard output stays; beside it, the log has each listener.
    let listening: Vec<_> = logged(&process.output()).filter(|line| line["message"] == "listening").collect();
    ensure!(listening.len() == 4, "{}", process.output());

    let failing = [
        run.clone().args(["--partitions", "many"]),
        run.clone().args(["--junk"]),
        Program::named("orders")?.args([
            "--log-format=json",
            "--database-url",
            "sqlite:/no/such/folder/o.db",
        ]),
        Program::named("payments")?.env("LOG_FORMAT", "json").args(["--admin", "127.0.0.1:0"]).args([
            "--listen",
            "127.0.0.1:0",
            "--database-url",
            "postgres://p@127.0.0.1:1/payments",
        ]),
        Program::named("gateway")?.env("LOG_FORMAT", "json").args(["--orders-url", "nowhere"]),
    ];
    for program in failing {
        let shown = ended(&mut program.start()?).await?;
        for line in shown.lines() {
            ensure!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "not JSON: {line}");
        }
        ensure!(logged(&shown).any(|line| line["level"] == "ERROR"), "{shown}");
    }
    Ok(())
}

/// A wrong port: what was tried and what came of it, in about the time that it takes.
#[tokio::test]
async fn a_start_without_its_database_says_which_and_why() -> Result<()> {
    let unused = world::Port::reserve()?;
    let url = format!("postgres://shop:p1anted@{}/orders", unused.address());
    let begun = std::time::Instant::now();
    let mut process = program("orders", "human")?.env("DATABASE_URL", &url).start()?;
    let shown = ended(&mut process).await?;
    ensure!(begun.elapsed() < Duration::from_secs(4), "{:?}: {shown}", begun.elapsed());
    ensure!(shown.contains(&format!("postgres://shop@{}/orders", unused.address())), "{shown}");
    ensure!(shown.contains("Connection refused"), "{shown}");
    shows_nothing("the error", &shown)
}

fn logged(output: &str) -> impl Iterator<Item = serde_json::Value> + '_ {
    output.lines().filter_map(|line| serde_json::from_str(line).ok())
}
