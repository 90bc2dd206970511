//! The services' own commands, reactions and databases, with the messages between them in the test's hands.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result, ensure};
use auth::Access;
use chassis::clock::{Clock, Micros};
use messaging::{
    consumer::{Effects, Handler, Verdict},
    envelope::Envelope,
    origin::Origin,
    outbox::{self, Outbox},
};
use ordermesh::payments::v1::PaymentDecided;
use orders::{
    commands::{
        cancel_order::{CancelOrder, Cancelling},
        create_order::{CreateOrder, Placing},
    },
    expiry::Expiry,
    feed::Feed,
    reactions::settle_orders::SettleOrders,
    store::entity::order::{self, Model as Order, Status},
};
use payments::{
    commands::{create_account::CreateAccount, top_up_account::TopUpAccount},
    domain::deposit::Deposit,
    reactions::decide_payments::DecidePayments,
    store::entity::{account, payment},
};
use prost::Name as _;
use sea_orm::{ColumnTrait as _, DbErr, EntityTrait as _, Iterable as _, QueryFilter as _, QueryOrder as _};
use storage::{Database, DatabaseUrl, Failure, Limits, Reading, group::GroupCommit};
use uuid::Uuid;
use world::Scratch;

use super::{Step, writer};

/// Microseconds from placing to expiry.
const TTL: i64 = 1_000_000;

/// A clock that moves when the test says so.
#[derive(Debug)]
pub(super) struct TestClock {
    now: AtomicI64,
    ids: AtomicU64,
}

impl Clock for TestClock {
    fn now(&self) -> Micros {
        self.now.load(Ordering::Relaxed)
    }

    fn new_id(&self) -> Uuid {
        // UUIDv7 with a counter instead of random bits.
        let millis = u128::try_from(self.now() / 1_000).unwrap_or_default();
        let counter = u128::from(self.ids.fetch_add(1, Ordering::Relaxed));
        Uuid::from_u128((millis << 80) | (7 << 76) | (2 << 62) | counter)
    }
}

/// Everything of both services but the gRPC listeners and the broker.
pub(super) struct Parts {
    pub(super) orders: Database,
    pub(super) payments: Database,
    clock: Arc<TestClock>,
    create_order: GroupCommit<CreateOrder>,
    cancel_order: CancelOrder,
    expiry: Expiry,
    settle: Arc<SettleOrders>,
    create_account: GroupCommit<CreateAccount>,
    top_up: GroupCommit<TopUpAccount>,
    decide: Arc<DecidePayments>,
    /// Each history has users of its own, so that one database serves them all.
    history: u32,
    /// On their way.
    messages: Vec<Envelope>,
    pub(super) placed: Vec<Uuid>,
    pub(super) topped_up: HashMap<String, i64>,
    ended: HashMap<Uuid, Order>,
    _scratch: Scratch,
}

async fn database(scratch: &Scratch, name: &str) -> Result<Database> {
    let limits = Limits { connections: 1, ..Limits::default() };
    Ok(Database::connect(&DatabaseUrl::file(&scratch.path().join(name)), limits).await?)
}

impl Parts {
    pub(super) async fn start() -> Result<Self> {
        let scratch = Scratch::new("histories")?;
        let (orders, payments) =
            (database(&scratch, "orders.db").await?, database(&scratch, "payments.db").await?);
        orders.migrate::<orders::store::schema::Migrations>().await?;
        payments.migrate::<payments::store::schema::Migrations>().await?;
        let clock =
            Arc::new(TestClock { now: AtomicI64::new(1_700_000_000_000_000), ids: AtomicU64::new(0) });
        let shared = || Arc::clone(&clock) as Arc<dyn Clock>;
        let (outbox, feed) = (Outbox::new(), Feed::new(orders.clone()).await?);
        let create = CreateOrder { outbox: outbox.clone() };
        let cancel_order = CancelOrder {
            database: orders.clone(),
            outbox: outbox.clone(),
            feed: feed.clone(),
            clock: shared(),
        };
        Ok(Self {
            create_order: writer(&orders, create),
            cancel_order,
            expiry: Expiry { database: orders.clone(), outbox: outbox.clone(), clock: shared() },
            settle: Arc::new(SettleOrders { feed, clock: shared() }),
            create_account: writer(&payments, CreateAccount),
            top_up: writer(&payments, TopUpAccount { clock: shared() }),
            decide: Arc::new(DecidePayments { outbox, clock: shared() }),
            orders,
            payments,
            history: 0,
            messages: Vec::new(),
            placed: Vec::new(),
            topped_up: HashMap::new(),
            ended: HashMap::new(),
            clock,
            _scratch: scratch,
        })
    }

    /// Forgets the history before. The first user has an account with some money.
    pub(super) async fn begin(&mut self) -> Result<()> {
        self.history += 1;
        self.messages.clear();
        self.placed.clear();
        self.topped_up.clear();
        self.ended.clear();
        self.open(self.user(0), false).await?;
        self.top_up(self.user(0), 100, None).await
    }

    pub(super) fn user(&self, user: u8) -> String {
        format!("h{}-u{user}", self.history)
    }

    pub(super) async fn take(&mut self, step: &Step) -> Result<()> {
        // Every step takes its time.
        self.clock.now.fetch_add(1_000, Ordering::Relaxed);
        match step {
            Step::Open { user, euro } => self.open(self.user(*user), *euro).await,
            Step::TopUp { user, amount, key } => self.top_up(self.user(*user), *amount, *key).await,
            Step::Place { user, amount, key } => self.place(self.user(*user), *amount, *key).await,
            Step::Cancel { order, key } => self.cancel(order, *key).await,
            Step::Arrive { messages } => {
                self.collect().await?;
                let mut batch = Vec::new();
                for (index, stays) in messages {
                    if !self.messages.is_empty() {
                        let at = index.index(self.messages.len());
                        batch.push(if *stays {
                            self.messages[at].clone()
                        } else {
                            self.messages.swap_remove(at)
                        });
                    }
                }
                self.deliver(batch).await
            }
            Step::Pass { millis } => {
                self.clock.now.fetch_add(millis * 1_000, Ordering::Relaxed);
                self.expiry.step().await?;
                Ok(())
            }
        }
    }

    async fn open(&self, user_id: String, euro: bool) -> Result<()> {
        let now = self.clock.now();
        let _there_already = self
            .create_account
            .submit(account::Model {
                user_id,
                balance: 0,
                currency_code: if euro { "EUR" } else { "RUB" }.to_owned(),
                version: 0,
                create_time: now,
                update_time: now,
                request_id: None,
                fingerprint: None,
            })
            .await?;
        Ok(())
    }

    async fn top_up(&mut self, user_id: String, amount: i64, key: Option<u8>) -> Result<()> {
        let deposit = Deposit {
            user_id: user_id.clone(),
            amount,
            currency_code: "RUB".to_owned(),
            request_id: key.map(|key| format!("top-up-{key}")),
            versions: None,
            fingerprint: [u8::try_from(amount % 251)?; 32],
            origin: Origin::default(),
        };
        if let Ok(booked) = self.top_up.submit(deposit).await?
            && !booked.replayed
        {
            *self.topped_up.entry(user_id).or_default() += amount;
        }
        Ok(())
    }

    async fn place(&mut self, user_id: String, amount: i64, key: Option<u8>) -> Result<()> {
        let now = self.clock.now();
        let order = Order {
            id: self.clock.new_id(),
            user_id,
            amount,
            currency_code: "RUB".to_owned(),
            description: String::new(),
            status: Status::New,
            cancel_reason: None,
            create_time: now,
            update_time: now,
            expire_time: now + TTL,
            cancel_request_time: None,
            cancel_request_id: None,
            void_due_time: now + TTL,
            ask_due_time: now + TTL,
            asked_message_id: None,
            version: 1,
            change_number: 0,
            ledger_entry_id: None,
            request_id: key.map(|key| format!("order-{key}")),
            fingerprint: key.map(|_| amount.to_be_bytes().to_vec()),
            subject: None,
            token_id: None,
            x_request_id: None,
        };
        let reply = self.create_order.submit(Placing { order: order.clone(), trace: None }).await?;
        match reply {
            Ok((answered, false)) => self.placed.push(answered.id),
            Ok((answered, true)) => {
                ensure!(
                    self.placed.contains(&answered.id) && answered.amount == amount,
                    "replayed {answered:?}"
                );
            }
            Err(_key_reused) => {}
        }
        Ok(())
    }

    async fn cancel(&self, order: &proptest::sample::Index, key: Option<u8>) -> Result<()> {
        if self.placed.is_empty() {
            return Ok(());
        }
        let order_id = self.placed[order.index(self.placed.len())];
        let request_id = key.map(|key| format!("cancel-{key}"));
        let access = Access::All;
        let request = Cancelling { order_id, access, request_id, versions: None, trace: None };
        let reply = self.cancel_order.cancel(request).await?;
        if let Ok((order, _)) = reply {
            ensure!(order.id == order_id && order.version == 2 && order.status == Status::New, "{order:?}");
        }
        Ok(())
    }

    /// Takes what the services have written into their outboxes.
    async fn collect(&mut self) -> Result<()> {
        for database in [&self.orders, &self.payments] {
            let rows = outbox::Entity::find().order_by_asc(outbox::Column::Seq).all(database.read()).await?;
            if rows.is_empty() {
                continue;
            }
            database
                .transact(|transaction| {
                    Box::pin(async { outbox::Entity::delete_many().exec(transaction).await.map(drop) })
                })
                .await?;
            self.messages.extend(rows.into_iter().map(|row| row.into_envelope("/test")));
        }
        Ok(())
    }

    /// Hands messages to whom they concern, a batch each, without any inbox.
    async fn deliver(&self, batch: Vec<Envelope>) -> Result<()> {
        let (decided, asked): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|message| message.kind == PaymentDecided::full_name());
        handle(&self.orders, Arc::clone(&self.settle) as Arc<dyn Handler>, decided).await?;
        handle(&self.payments, Arc::clone(&self.decide) as Arc<dyn Handler>, asked).await
    }

    /// Delivers all that is on its way, twice, until nothing comes any more; every order is past its expiry by then.
    pub(super) async fn come_to_rest(&mut self) -> Result<()> {
        self.clock.now.fetch_add(2 * TTL, Ordering::Relaxed);
        self.expiry.step().await?;
        for _ in 0..4 {
            self.collect().await?;
            if self.messages.is_empty() {
                return Ok(());
            }
            let messages = std::mem::take(&mut self.messages);
            let mut twice = [messages.clone(), messages].concat();
            if self.history.is_multiple_of(2) {
                twice.reverse();
            }
            self.deliver(twice).await?;
        }
        anyhow::bail!("messages cause messages without an end")
    }

    /// Histories in which nothing can go wrong would show nothing.
    pub(super) async fn every_outcome_came(&self) -> Result<()> {
        let payments = payment::Entity::find().all(self.payments.read()).await?;
        for reason in [None].into_iter().chain(payment::Reason::iter().map(Some)) {
            let came = payments.iter().filter(|payment| payment.reason == reason).count();
            ensure!(came > 5, "{reason:?} came {came} times only");
        }
        Ok(())
    }

    pub(super) async fn all_orders(&self) -> Result<Vec<Order>> {
        let placed = order::Column::Id.is_in(self.placed.iter().copied());
        let orders = order::Entity::find().filter(placed).all(self.orders.read()).await?;
        ensure!(orders.len() == self.placed.len(), "an order was lost");
        Ok(orders)
    }

    /// I6: what has ended stays as it is.
    pub(super) async fn nothing_terminal_moved(&mut self) -> Result<()> {
        for order in self.all_orders().await? {
            match self.ended.get(&order.id) {
                Some(before) => ensure!(*before == order, "{before:?} became {order:?}"),
                None if order.status == Status::New => {}
                None => drop(self.ended.insert(order.id, order)),
            }
        }
        Ok(())
    }
}

async fn handle(database: &Database, handler: Arc<dyn Handler>, batch: Vec<Envelope>) -> Result<()> {
    if batch.is_empty() {
        return Ok(());
    }
    let batch = Arc::new(batch);
    // As a consumer does: under locks only once the first attempt has failed.
    if handle_optimistically(database, Arc::clone(&handler), Arc::clone(&batch)).await? {
        return Ok(());
    }
    let verdicts = database.transact(move |transaction| {
        let (handler, batch) = (Arc::clone(&handler), Arc::clone(&batch));
        Box::pin(async move {
            let messages: Vec<&Envelope> = batch.iter().collect();
            let mut effects = Effects::default();
            let verdicts = handler.handle(Reading::Locked(transaction), &messages, &mut effects).await?;
            effects.apply(transaction).await?;
            Ok(verdicts)
        })
    });
    let verdicts = verdicts.await.context("a batch failed")?;
    ensure!(verdicts.iter().all(|verdict| *verdict == Verdict::Done), "{verdicts:?}");
    Ok(())
}

async fn handle_optimistically(
    database: &Database,
    handler: Arc<dyn Handler>,
    batch: Arc<Vec<Envelope>>,
) -> Result<bool> {
    let handled = database.execute(move |executor| {
        let (handler, batch) = (Arc::clone(&handler), Arc::clone(&batch));
        Box::pin(async move {
            let messages: Vec<&Envelope> = batch.iter().collect();
            let mut effects = Effects::default();
            match handler.handle(Reading::Optimistic(executor), &messages, &mut effects).await {
                Ok(verdicts) => {
                    Ok(verdicts.iter().all(|verdict| *verdict == Verdict::Done).then_some(effects))
                }
                Err(DbErr::RecordNotUpdated) => Ok(None),
                Err(error) => Err(error),
            }
        })
    });
    let Some(effects) = handled.await.context("a batch failed")? else { return Ok(false) };
    match effects.commit(database).await {
        Ok(_) => Ok(true),
        Err(Failure::Refused(_)) => Ok(false),
        Err(failure) => Err(failure).context("a batch failed"),
    }
}
