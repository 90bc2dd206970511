//! Random histories against the real services' handlers and databases: whatever comes twice, late or in another order, the
//! invariants hold at rest (I1-I8, I10).

mod parts;
mod invariants;

use std::cell::RefCell;

use proptest::{
    collection::vec,
    option,
    prelude::*,
    sample::Index,
    test_runner::{Config, TestRunner},
};
use storage::{
    Database,
    group::{Batch, GroupCommit},
};

use self::parts::Parts;

/// Histories of one run: these many on each of the threads.
const HISTORIES: u32 = 500;
const THREADS: usize = 4;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// A user opens an account, perhaps once more.
    Open { user: u8, euro: bool },
    /// Money comes in, perhaps with a key that was used before.
    TopUp { user: u8, amount: i64, key: Option<u8> },
    /// An order is placed, perhaps with a key that was used before.
    Place { user: u8, amount: i64, key: Option<u8> },
    /// An order's cancellation is requested, perhaps once more or too late.
    Cancel { order: Index, key: Option<u8> },
    /// Messages arrive, in this order and in one batch; of some a copy stays on its way.
    Arrive { messages: Vec<(Index, bool)> },
    /// Time passes, in milliseconds: orders may expire.
    Pass { millis: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    let user = || prop_oneof![3 => Just(0_u8), 2 => 1..3_u8];
    let amount = || prop_oneof![9 => 1..60_i64, 1 => Just(1_000_000_000_000_i64)];
    let key = || option::weighted(0.5, 0..2_u8);
    let messages = vec((any::<Index>(), prop::bool::weighted(0.3)), 1..5);
    prop_oneof![
        2 => (user(), prop::bool::weighted(0.5)).prop_map(|(user, euro)| Step::Open { user, euro }),
        3 => (user(), amount(), key()).prop_map(|(user, amount, key)| Step::TopUp { user, amount, key }),
        5 => (user(), amount(), key()).prop_map(|(user, amount, key)| Step::Place { user, amount, key }),
        3 => (any::<Index>(), key()).prop_map(|(order, key)| Step::Cancel { order, key }),
        5 => messages.prop_map(|messages| Step::Arrive { messages }),
        1 => (0..1_500_i64).prop_map(|millis| Step::Pass { millis }),
    ]
}

/// The way to a writer, which runs as long as the runtime does.
fn writer<B: Batch>(database: &Database, batch: B) -> GroupCommit<B> {
    let (group, writer) = GroupCommit::new(database.clone(), batch);
    tokio::spawn(writer);
    group
}

/// Runs its share of the histories on databases of its own.
fn run_histories() -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let parts = runtime.block_on(Parts::start()).map_err(|error| format!("{error:#}"))?;
    let parts = RefCell::new(parts);
    let config = Config { cases: HISTORIES, failure_persistence: None, ..Config::default() };
    let history = |steps: Vec<Step>| {
        let mut parts = parts.borrow_mut();
        let outcome = runtime.block_on(async {
            parts.begin().await?;
            for step in &steps {
                parts.take(step).await?;
                parts.nothing_terminal_moved().await?;
            }
            parts.come_to_rest().await?;
            invariants::hold(&parts).await
        });
        outcome.map_err(|error| TestCaseError::fail(format!("{error:#}")))
    };
    TestRunner::new(config).run(&vec(step(), 1..24), history).map_err(|failure| failure.to_string())?;
    runtime.block_on(parts.borrow().every_outcome_came()).map_err(|error| format!("{error:#}"))
}

#[test]
fn invariants_hold_in_two_thousand_histories() {
    let failures: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(run_histories)).collect();
        threads
            .into_iter()
            .filter_map(|thread| match thread.join() {
                Ok(outcome) => outcome.err(),
                Err(_) => Some("a history panicked".to_owned()),
            })
            .collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
