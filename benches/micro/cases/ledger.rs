//! The book: a full batch of a consumer, decided on one account and on as many accounts as charges.

use std::{
    hint::black_box,
    sync::atomic::{AtomicU64, Ordering},
};

use chassis::clock::{Clock, Micros};
use messaging::origin::Origin;
use payments::{
    domain::book::{Book, Charge},
    store::entity::account::Model as Account,
};
use uuid::Uuid;

use super::Call;

const CHARGES: u64 = 200;
const NOW: Micros = 1_750_000_000_000_000;

/// Always the same moment, and ids by number: what the machine's clock costs is not the book's.
#[derive(Debug, Default)]
struct StoppedClock(AtomicU64);

impl Clock for StoppedClock {
    fn now(&self) -> Micros {
        NOW
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u64_pair(7, self.0.fetch_add(1, Ordering::Relaxed))
    }
}

pub(super) fn hot() -> Call {
    batch(1)
}

pub(super) fn spread() -> Call {
    batch(CHARGES)
}

/// The accounts are cloned in each call, as a book takes them.
fn batch(accounts: u64) -> Call {
    let user = |number: u64| format!("user-{number:04}");
    let charge = |number: u64| Charge {
        order_id: Uuid::from_u64_pair(1, number),
        user_id: user(number % accounts),
        amount: 10,
        currency_code: "EUR".to_owned(),
        void: None,
        origin: Origin::default(),
        restored: None,
    };
    let account = |number: u64| Account {
        user_id: user(number),
        balance: 1_000_000,
        currency_code: "EUR".to_owned(),
        version: 3,
        create_time: NOW,
        update_time: NOW,
        request_id: None,
        fingerprint: None,
    };
    let charges: Vec<Charge> = (0..CHARGES).map(charge).collect();
    let accounts: Vec<Account> = (0..accounts).map(account).collect();
    let clock = StoppedClock::default();
    Box::new(move || {
        let mut book = Book::open(accounts.iter().cloned(), &clock);
        for charge in &charges {
            black_box(book.decide(black_box(charge)));
        }
        black_box(book.close());
    })
}
