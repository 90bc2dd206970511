//! A whole mesh for a test: one process or several, embedded defaults or real servers, all of it the test's own but for the broker.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use anyhow::{Context as _, Result, ensure};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, Statement};
use serde_json::{Value, json};
use world::{Api, PATIENCE, Postgres, Process, Program, RabbitMq, Scratch, eventually};

/// How a mesh is put together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Arrangement {
    pub(crate) postgres: bool,
    pub(crate) rabbitmq: bool,
    /// The edge, orders and payments as processes of their own; they need RabbitMQ between them.
    pub(crate) apart: bool,
    /// RabbitMQ is spoken to over TLS, with a certificate of a private authority.
    pub(crate) tls: bool,
    /// No other test uses the broker: for what is done to the broker itself.
    pub(crate) own_broker: bool,
}

/// Everything in one process, on nothing else.
pub(crate) const EMBEDDED: Arrangement =
    Arrangement { postgres: false, rabbitmq: false, apart: false, tls: false, own_broker: false };
/// As it runs in production.
pub(crate) const APART: Arrangement =
    Arrangement { postgres: true, rabbitmq: true, apart: true, tls: false, own_broker: false };

/// What opens the admin services of a mesh in one process.
pub(crate) const ADMIN_TOKEN: &str = "the-operator";

/// A running mesh.
pub(crate) struct Mesh {
    programs: Vec<Program>,
    /// That of orders, where it is a process of its own.
    orders_program: Option<Program>,
    pub(crate) processes: Vec<Process>,
    databases: BTreeMap<&'static str, String>,
    pub(crate) api: Api,
    pub(crate) orders: SocketAddr,
    pub(crate) payments: SocketAddr,
    /// The operator's listener of each process, in their order.
    admins: Vec<Api>,
    pub(crate) rabbitmq: Option<RabbitMq>,
    pub(crate) postgres: Option<Postgres>,
    _data: Option<Scratch>,
}

/// Of each service the URLs of its database and of the broker.
type Urls = BTreeMap<&'static str, (String, String)>;

/// Environment variables that all processes of a mesh have.
type Env = [(&'static str, String)];

impl Mesh {
    pub(crate) async fn start(arrangement: Arrangement) -> Result<Self> {
        Self::start_with(arrangement, &[]).await
    }

    /// Starts a mesh whose processes have these settings as well.
    pub(crate) async fn start_with(arrangement: Arrangement, env: &Env) -> Result<Self> {
        let data = Scratch::new("mesh")?;
        let postgres = if arrangement.postgres { Some(Postgres::start().await?) } else { None };
        let rabbitmq = match arrangement {
            Arrangement { rabbitmq: false, .. } => None,
            Arrangement { tls: true, .. } => Some(RabbitMq::start_with_tls().await?),
            Arrangement { own_broker: true, .. } => Some(RabbitMq::start().await?),
            Arrangement { .. } => Some(RabbitMq::shared().await?),
        };
        let mut databases = BTreeMap::new();
        for service in ["orders", "payments"] {
            let url = match &postgres {
                Some(postgres) => {
                    postgres.create_database(service).await?;
                    postgres.url(service)
                }
                None => format!("sqlite:{}/{service}.db", data.path().display()),
            };
            databases.insert(service, url);
        }
        let mut env = env.to_vec();
        let amqp_url = match &rabbitmq {
            Some(rabbitmq) if arrangement.tls => {
                env.push(("AMQP_CA", rabbitmq.ca().display().to_string()));
                Some(rabbitmq.amqps_url()?)
            }
            rabbitmq => rabbitmq.as_ref().map(RabbitMq::amqp_url),
        };
        let mut mesh = Self { rabbitmq, postgres, _data: Some(data), ..Self::of(databases)? };
        if arrangement.apart {
            let amqp_url = amqp_url.context("processes apart need RabbitMQ between them")?;
            let urls =
                mesh.databases.iter().map(|(service, url)| (*service, (url.clone(), amqp_url.clone())));
            mesh.start_apart(&urls.collect(), &env).await?;
        } else {
            mesh.start_together(amqp_url, &env).await?;
        }
        Ok(mesh)
    }

    /// Starts a mesh as deploy/ has it: each service is a user of its own to the broker, and a role of its own to its database, which another
    /// role has migrated.
    pub(crate) async fn start_as_deployed(env: &Env) -> Result<Self> {
        let (postgres, rabbitmq) = (Postgres::start().await?, RabbitMq::start().await?);
        let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
        let passwords = ["ORDERS", "ORDERS_OWNER", "PAYMENTS", "PAYMENTS_OWNER"]
            .map(|role| (format!("{role}_PASSWORD"), role));
        postgres.script(&deploy.join("postgres/init.sql"), "postgres", &passwords).await?;
        let passwords = [("ORDERS", "orders-amqp"), ("PAYMENTS", "payments-amqp")]
            .map(|(user, password)| (format!("{user}_AMQP_PASSWORD"), password));
        rabbitmq.script(&deploy.join("rabbitmq/users.sh"), &passwords).await?;
        let (mut databases, mut urls) = (BTreeMap::new(), BTreeMap::new());
        for service in ["orders", "payments"] {
            let all = postgres.url(service);
            let of = |role: &str| all.replace("postgres@", &format!("{role}@"));
            let migrate = Program::named(service)?.args(["migrate"]).env("AMQP_URL", "amqp://127.0.0.1:1");
            let mut migrate = migrate.env("DATABASE_URL", of(&format!("{service}_owner"))).start()?;
            ensure!(migrate.wait(PATIENCE).await?.success(), "{}", migrate.output());
            let amqp_url = rabbitmq.amqp_url().replace("guest:guest", &format!("{service}:{service}-amqp"));
            urls.insert(service, (of(service), amqp_url));
            databases.insert(service, all);
        }
        let mut mesh = Self { rabbitmq: Some(rabbitmq), postgres: Some(postgres), ..Self::of(databases)? };
        mesh.start_apart(&urls, env).await?;
        Ok(mesh)
    }

    /// Starts a mesh of one process on nothing else, with its databases in this folder.
    pub(crate) async fn start_in(folder: &Path) -> Result<Self> {
        Self::start_in_with(folder, &[]).await
    }

    /// The same with these settings as well.
    pub(crate) async fn start_in_with(folder: &Path, env: &Env) -> Result<Self> {
        let mut mesh = Self::of(files(folder))?;
        mesh.start_together(None, env).await?;
        Ok(mesh)
    }

    /// The same, as a process whose files can be limited ([`Process::limit_files`]).
    pub(crate) async fn start_limitable(folder: &Path) -> Result<Self> {
        let mut mesh = Self::of(files(folder))?;
        mesh.programs = vec![mesh.together(None, &[])?.ignoring_sigxfsz()];
        mesh.start_again().await?;
        Ok(mesh)
    }

    /// Starts a mesh of one process on databases that it reaches at one URL each, and the test at another.
    pub(crate) async fn start_behind(
        reached: BTreeMap<&'static str, String>,
        direct: BTreeMap<&'static str, String>,
        env: &Env,
    ) -> Result<Self> {
        let mut mesh = Self::of(reached)?;
        mesh.start_together(None, env).await?;
        mesh.databases = direct;
        Ok(mesh)
    }

    /// Nothing runs yet.
    fn of(databases: BTreeMap<&'static str, String>) -> Result<Self> {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        Ok(Self {
            programs: Vec::new(),
            orders_program: None,
            processes: Vec::new(),
            databases,
            api: Api::new("http://127.0.0.1")?,
            orders: nobody,
            payments: nobody,
            admins: Vec::new(),
            rabbitmq: None,
            postgres: None,
            _data: None,
        })
    }

    async fn start_together(&mut self, amqp_url: Option<String>, env: &Env) -> Result<()> {
        self.programs = vec![self.together(amqp_url, env)?];
        self.start_again().await
    }

    fn together(&self, amqp_url: Option<String>, env: &Env) -> Result<Program> {
        let mut program = with(Program::named("ordermesh")?, env)
            .args(["up", "--http", "127.0.0.1:0", "--orders-grpc", "127.0.0.1:0"])
            .args(["--payments-grpc", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .env("ORDERS_DATABASE_URL", &self.databases["orders"])
            .env("PAYMENTS_DATABASE_URL", &self.databases["payments"]);
        // Where there is an issuer, operators have its tokens.
        if !env.iter().any(|(name, _)| name.starts_with("AUTH")) {
            program = program.env("ADMIN_TOKEN", ADMIN_TOKEN);
        }
        if let Some(amqp_url) = amqp_url {
            program = program.env("AMQP_URL", amqp_url);
        }
        Ok(program)
    }

    /// Starts a mesh of one process again, after its end.
    pub(crate) async fn start_again(&mut self) -> Result<()> {
        let [program] = self.programs.as_slice() else {
            anyhow::bail!("only a mesh of one process starts again")
        };
        let mut process = program.start()?;
        self.api = Api::new(format!("http://{}", process.address("http").await?))?;
        self.orders = process.address("orders-grpc").await?;
        self.payments = process.address("payments-grpc").await?;
        self.admins = vec![Api::new(format!("http://{}", process.address("admin").await?))?];
        self.processes = vec![process];
        Ok(())
    }

    async fn start_apart(&mut self, urls: &Urls, env: &Env) -> Result<()> {
        let service = |service: &str| {
            let (database_url, amqp_url) = &urls[service];
            let program = with(Program::named(service)?, env)
                .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
                .env("DATABASE_URL", database_url)
                .env("AMQP_URL", amqp_url);
            anyhow::Ok(program)
        };
        let mut payments = service("payments")?.start()?;
        self.payments = payments.address("payments-grpc").await?;
        // Orders asks payments about an order that an operator wants explained.
        let orders = service("orders")?.env("PAYMENTS_URL", format!("http://{}", self.payments));
        self.orders_program = Some(orders.clone());
        let mut orders = orders.start()?;
        self.orders = orders.address("orders-grpc").await?;
        self.processes = vec![orders, payments];
        let mut gateway = with(Program::named("gateway")?, env)
            .args(["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(["--orders-url".to_owned(), format!("http://{}", self.orders)])
            .args(["--payments-url".to_owned(), format!("http://{}", self.payments)])
            .start()?;
        self.api = Api::new(format!("http://{}", gateway.address("http").await?))?;
        self.processes.push(gateway);
        for process in &mut self.processes {
            self.admins.push(Api::new(format!("http://{}", process.address("admin").await?))?);
        }
        Ok(())
    }

    /// Ends all processes as an operator does, those that call others first, and makes sure that each ends well.
    pub(crate) async fn stop(&mut self) -> Result<()> {
        for process in self.processes.iter_mut().rev() {
            process.terminate()?;
            let ended = process.wait(PATIENCE).await?;
            ensure!(ended.success(), "{ended}\n{}", process.output());
        }
        Ok(())
    }

    /// Another process of orders, beside the first one of a mesh of several processes.
    pub(crate) fn another_orders(&self) -> Result<Process> {
        self.orders_program.as_ref().context("a mesh of several processes")?.start()
    }

    /// The operator's listener of a service's process.
    pub(crate) fn admin(&self, service: &str) -> Result<&Api> {
        let at = if self.admins.len() == 1 { 0 } else { self.place(service)? };
        self.admins.get(at).context("every process has an operator's listener")
    }

    /// All that the process of a service, or of the gateway, has written so far.
    pub(crate) fn output(&self, service: &str) -> Result<String> {
        Ok(self.processes[self.place(service)?].output())
    }

    /// Where a process apart stands among the others.
    fn place(&self, process: &str) -> Result<usize> {
        let names = ["orders", "payments", "gateway"];
        names
            .iter()
            .position(|name| *name == process)
            .with_context(|| format!("there is no process {process}"))
    }

    /// The connection URL of a service's database.
    pub(crate) fn database_url(&self, service: &str) -> &str {
        &self.databases[service]
    }

    /// Opens an account over HTTP and tops it up.
    pub(crate) async fn account(&self, user: &str, amount: i64) -> Result<()> {
        let opened = self.api.post("/gateway/payments", &json!({ "userId": user })).await?;
        ensure!(opened.status == 200, "{}", opened.text);
        let path = format!("/gateway/payments/{user}/top-up");
        let topped_up = self.api.post(&path, &json!({ "amount": amount })).await?;
        ensure!(topped_up.status == 200, "{}", topped_up.text);
        Ok(())
    }

    /// Places an order over HTTP and returns its id.
    pub(crate) async fn order(&self, user: &str, amount: i64) -> Result<String> {
        let placed = self.api.post("/gateway/orders", &json!({ "userId": user, "amount": amount })).await?;
        ensure!(placed.status == 200 && placed.body["status"] == "NEW", "{}", placed.text);
        Ok(placed.body["id"].as_str().context("an order has an id")?.to_owned())
    }

    /// Waits until an order has ended, and returns it.
    pub(crate) async fn ended(&self, id: &str) -> Result<Value> {
        eventually("the end of the order", PATIENCE, async || {
            let order = self.api.get(&format!("/gateway/orders/{id}")).await?;
            ensure!(order.status == 200 && order.body["status"] != "NEW", "{}", order.text);
            Ok(order.body)
        })
        .await
    }

    /// The balance of a user, in minor units.
    pub(crate) async fn balance(&self, user: &str) -> Result<i64> {
        let account = self.api.get(&format!("/gateway/payments/{user}")).await?;
        let balance = account.body["balance"].as_str().with_context(|| account.text.clone())?;
        Ok(balance.parse()?)
    }

    /// One number out of a service's database: how much of something there is.
    pub(crate) async fn count(&self, service: &str, sql: &str) -> Result<i64> {
        let database = Database::connect(&self.databases[service]).await?;
        let row =
            database.query_one_raw(Statement::from_string(database.get_database_backend(), sql)).await?;
        let number = row.context("a count has a row")?.try_get_by_index(0)?;
        database.close().await?;
        Ok(number)
    }

    /// Changes a service's database behind its back, by several statements.
    pub(crate) async fn tamper(&self, service: &str, sql: &str) -> Result<()> {
        let mut options = ConnectOptions::new(&self.databases[service]);
        options.max_connections(1);
        let database = Database::connect(options).await?;
        database.execute_unprepared(sql).await.with_context(|| sql.to_owned())?;
        Ok(database.close().await?)
    }

    /// Takes away what keeps the rows of a table of payments from being changed, as who owns it can.
    pub(crate) async fn lift_append_only(&self, table: &str) -> Result<()> {
        let lift = match self.postgres {
            Some(_) => format!("DROP TRIGGER append_only ON {table}"),
            None => ["update", "delete"].map(|on| format!("DROP TRIGGER {table}_append_only_{on};")).concat(),
        };
        self.tamper("payments", &lift).await
    }

    /// Losing a race, which is ordinary, is no error to PostgreSQL, whose operator would look for what is wrong.
    pub(crate) fn has_logged_no_error(&self) -> Result<()> {
        let Some(postgres) = &self.postgres else { return Ok(()) };
        let log = postgres.log()?;
        let error = log.lines().find(|line| line.contains("ERROR:"));
        ensure!(error.is_none(), "PostgreSQL has logged {error:?} in\n{log}");
        Ok(())
    }

    /// Waits until nothing is on its way any more, and makes sure that nothing was parked.
    pub(crate) async fn at_rest(&self) -> Result<()> {
        for service in ["orders", "payments"] {
            eventually("an empty outbox", PATIENCE, async || {
                let waiting = self.count(service, "SELECT COUNT(*) FROM outbox").await?;
                ensure!(waiting == 0, "{waiting} messages wait in the outbox of {service}");
                Ok::<_, anyhow::Error>(())
            })
            .await?;
            let parked = self.count(service, "SELECT COUNT(*) FROM parked").await?;
            ensure!(parked == 0, "{service} has parked {parked} messages");
        }
        Ok(())
    }
}

/// The databases of both services in a folder.
fn files(folder: &Path) -> BTreeMap<&'static str, String> {
    let url = |service| format!("sqlite:{}/{service}.db", folder.display());
    ["orders", "payments"].map(|service| (service, url(service))).into()
}

fn with(program: Program, env: &Env) -> Program {
    env.iter().fold(program, |program, (name, value)| program.env(name, value))
}
