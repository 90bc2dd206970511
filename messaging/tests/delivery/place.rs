//! Where a test takes place: one database with the tables of messaging and of the effects, and one broker.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use messaging::{
    broker::{Broker, memory::MemoryBroker, rabbit::RabbitBroker},
    envelope::Envelope,
    outbox::{self, Outbox},
    parked,
    schema::{
        COUNTED_REDRIVES, COUNTED_REPEATS, KEPT_ACTIONS, KEPT_CALLS, KEPT_ORDER, KEPT_ORIGINS, KEPT_PAUSES,
        KEPT_PROCESSES, KEPT_REPORTS, KEPT_REQUESTS, KEPT_WHOLE, MESSAGING_TABLES, PARKED_OPERATIONS,
        WHOLE_TRACE_CONTEXTS,
    },
    topology::Topology,
};
use sea_orm::{ConnectionTrait as _, EntityTrait as _, QueryOrder as _, Statement, TryGetable};
use sea_orm_migration::{MigrationTrait, MigratorTrait};
use storage::{Database, DatabaseUrl, Limits, schema::Statements};
use world::{PATIENCE, Postgres, RabbitMq, Scratch, eventually};

use crate::fact::{self, fact, key, reader};

pub(crate) struct Place {
    pub(crate) database: Database,
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) outbox: Outbox,
    pub(crate) postgres: Option<Postgres>,
    pub(crate) rabbitmq: Option<RabbitMq>,
    pub(crate) url: DatabaseUrl,
    _scratch: Scratch,
}

impl Place {
    /// SQLite and the in-process broker.
    pub(crate) async fn embedded() -> Result<Self> {
        let scratch = Scratch::new("place")?;
        let url = DatabaseUrl::file(&scratch.path().join("place.db"));
        let broker = Arc::new(MemoryBroker::new(Topology { consumers: vec![reader()], ..topology() }));
        Self::new(url, broker, None, None, scratch).await
    }

    /// PostgreSQL and the in-process broker.
    pub(crate) async fn postgres() -> Result<Self> {
        let postgres = Postgres::start().await?;
        let url = postgres.fresh_database().await?.parse()?;
        let broker = Arc::new(MemoryBroker::new(Topology { consumers: vec![reader()], ..topology() }));
        Self::new(url, broker, Some(postgres), None, Scratch::new("place")?).await
    }

    /// The same with a database that stores no more than Latin letters.
    pub(crate) async fn postgres_in_latin1() -> Result<Self> {
        let postgres = Postgres::start().await?;
        let server = sea_orm::Database::connect(postgres.url("postgres")).await?;
        let create = "CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'";
        server.execute_unprepared(create).await?;
        let url = postgres.url("latin").parse()?;
        let broker = Arc::new(MemoryBroker::new(Topology { consumers: vec![reader()], ..topology() }));
        Self::new(url, broker, Some(postgres), None, Scratch::new("place")?).await
    }

    /// What another process on the same servers has: connections and wake-ups of its own.
    pub(crate) async fn neighbour(&self) -> Result<Self> {
        Self::join(&self.url, Arc::clone(&self.broker)).await
    }

    /// A place that somebody else has made.
    pub(crate) async fn join(url: &DatabaseUrl, broker: Arc<dyn Broker>) -> Result<Self> {
        Self::new(url.clone(), broker, None, None, Scratch::new("place")?).await
    }

    /// The database's URL, with everything in it.
    pub(crate) fn connection_url(&self) -> String {
        self.url.expose()
    }

    /// PostgreSQL and RabbitMQ with the reader's queues: the order of what is on its way while a queue is bound is not promised.
    pub(crate) async fn real() -> Result<Self> {
        Self::real_without_queues().await?.with_queues().await
    }

    /// The same with a broker that no other test uses: for what is done to the broker itself, and for measurements.
    pub(crate) async fn real_with_own_broker() -> Result<Self> {
        Self::real_on(RabbitMq::start().await?).await?.with_queues().await
    }

    /// PostgreSQL and RabbitMQ, whose queues come to be with the first consumer.
    pub(crate) async fn real_without_queues() -> Result<Self> {
        Self::real_on(RabbitMq::shared().await?).await
    }

    async fn with_queues(self) -> Result<Self> {
        for partition in 0..topology().partitions {
            drop(self.broker.subscribe(&reader(), partition, 1).await?);
        }
        Ok(self)
    }

    /// The same on this broker.
    pub(crate) async fn real_on(rabbitmq: RabbitMq) -> Result<Self> {
        let postgres = Postgres::start().await?;
        let url = postgres.fresh_database().await?.parse()?;
        let broker = Arc::new(RabbitBroker::new(&rabbitmq.amqp_url(), topology())?);
        Self::new(url, broker, Some(postgres), Some(rabbitmq), Scratch::new("place")?).await
    }

    async fn new(
        url: DatabaseUrl,
        broker: Arc<dyn Broker>,
        postgres: Option<Postgres>,
        rabbitmq: Option<RabbitMq>,
        scratch: Scratch,
    ) -> Result<Self> {
        let database = Database::connect(&url, Limits::default()).await?;
        database.migrate::<Migrations>().await?;
        Ok(Self { database, broker, outbox: Outbox::new(), postgres, rabbitmq, url, _scratch: scratch })
    }

    /// Writes facts with these numbers, a hundred in a transaction.
    pub(crate) async fn write(&self, numbers: Range<i64>) -> Result<()> {
        let numbers: Vec<i64> = numbers.collect();
        for run in numbers.chunks(100) {
            self.write_messages(run.iter().map(|number| fact(*number)).collect()).await?;
        }
        Ok(())
    }

    /// Writes messages in one transaction.
    pub(crate) async fn write_messages(&self, messages: Vec<Envelope>) -> Result<()> {
        let (outbox, messages) = (self.outbox.clone(), Arc::new(messages));
        let written = self.database.transact(move |transaction| {
            let (outbox, messages) = (outbox.clone(), Arc::clone(&messages));
            Box::pin(async move { outbox.write(transaction, &messages).await })
        });
        written.await?;
        self.outbox.wake();
        Ok(())
    }

    /// The first column of the one row that a query returns.
    pub(crate) async fn one<T: TryGetable>(&self, query: &str) -> Result<T> {
        let row = self.database.read().query_one_raw(Statement::from_string(self.database.backend(), query));
        Ok(row.await?.context("a query that returns one row")?.try_get_by_index(0)?)
    }

    /// The numbers of all effects, in the order in which they came to be.
    pub(crate) async fn effects(&self) -> Result<Vec<i64>> {
        let rows = fact::Entity::find().order_by_asc(fact::Column::Seq).all(self.database.read()).await?;
        Ok(rows.into_iter().map(|row| row.number).collect())
    }

    /// Waits until there are `count` effects.
    pub(crate) async fn has_effects(&self, count: usize) -> Result<()> {
        eventually(&format!("{count} effects"), 3 * PATIENCE, async || {
            let effects = self.effects().await?.len();
            ensure!(effects >= count, "{effects} effects");
            Ok(())
        })
        .await
    }

    /// Waits until the outbox is empty.
    pub(crate) async fn is_drained(&self) -> Result<()> {
        eventually("an empty outbox", 3 * PATIENCE, async || {
            let backlog = outbox::backlog(self.database.read()).await?;
            ensure!(backlog.pending + backlog.unroutable == 0, "{backlog:?}");
            Ok(())
        })
        .await
    }

    /// Makes sure that each of these facts had its effect once, and no other fact had one.
    pub(crate) async fn each_once(&self, numbers: impl Iterator<Item = i64>) -> Result<()> {
        let mut effects = self.effects().await?;
        effects.sort_unstable();
        let expected: Vec<i64> = numbers.collect();
        let (many, wanted) = (effects.len(), expected.len());
        ensure!(effects == expected, "{many} effects, not one for each of {wanted} facts");
        Ok(())
    }

    /// Makes sure that the facts of each key had their effects in the order in which they were written.
    pub(crate) async fn in_order(&self) -> Result<()> {
        let mut by_key: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for number in self.effects().await? {
            by_key.entry(key(number)).or_default().push(number);
        }
        for (key, numbers) in by_key {
            let early = numbers.windows(2).find(|pair| pair[0] > pair[1]);
            ensure!(early.is_none(), "{key}: out of order at {early:?}");
        }
        Ok(())
    }

    /// Everything that is parked.
    pub(crate) async fn parked(&self) -> Result<Vec<parked::Model>> {
        Ok(parked::Entity::find().order_by_asc(parked::Column::Seq).all(self.database.read()).await?)
    }

    /// Waits until `count` messages are parked.
    pub(crate) async fn has_parked(&self, count: usize) -> Result<Vec<parked::Model>> {
        eventually(&format!("{count} parked messages"), PATIENCE, async || {
            let parked = self.parked().await?;
            ensure!(parked.len() == count, "{} are parked", parked.len());
            Ok(parked)
        })
        .await
    }

    pub(crate) fn rabbitmq(&mut self) -> Result<&mut RabbitMq> {
        self.rabbitmq.as_mut().context("a place with RabbitMQ")
    }

    pub(crate) fn postgres_server(&mut self) -> Result<&mut Postgres> {
        self.postgres.as_mut().context("a place with PostgreSQL")
    }
}

pub(crate) fn topology() -> Topology {
    Topology::new("tests", 1, [])
}

struct Migrations;

impl MigratorTrait for Migrations {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(MESSAGING_TABLES),
            Box::new(COUNTED_REDRIVES),
            Box::new(WHOLE_TRACE_CONTEXTS),
            Box::new(KEPT_ORIGINS),
            Box::new(KEPT_ACTIONS),
            Box::new(PARKED_OPERATIONS),
            Box::new(KEPT_PAUSES),
            Box::new(KEPT_ORDER),
            Box::new(KEPT_REQUESTS),
            Box::new(KEPT_CALLS),
            Box::new(KEPT_PROCESSES),
            Box::new(KEPT_WHOLE),
            Box::new(Statements::new("effects", &[fact::TABLE])),
            Box::new(KEPT_REPORTS),
            Box::new(COUNTED_REPEATS),
        ]
    }
}
