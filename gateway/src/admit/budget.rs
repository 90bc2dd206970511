//! A bound on the bytes that clients make the edge keep, of all clients and of each.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use chassis::status::{Fault, Reason};

use crate::metrics::{limit, refused};

/// One client may have this part of what all may have.
const SHARE: usize = 4;

/// This part of the bounds may be kept beyond them: answers to writes, and refusals.
const BEYOND: usize = 8;

/// What is kept, on all threads of an edge.
#[derive(Debug)]
pub(crate) struct Budget {
    /// What it is, in the words of a refusal.
    what: &'static str,
    most: usize,
    most_of_client: usize,
    taken: AtomicUsize,
    /// Locked for a moment, when a connection begins and when the last one of its client ends.
    accounts: Mutex<HashMap<IpAddr, Weak<Account>>>,
}

/// What one client makes the edge keep: all its connections have one, so that no request has to look for it.
#[derive(Debug)]
pub(crate) struct Account {
    budget: Arc<Budget>,
    network: IpAddr,
    taken: AtomicUsize,
}

/// Bytes that count, until it is dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    account: Arc<Account>,
    bytes: usize,
}

impl Budget {
    /// At most so many bytes in all. A client has a quarter of them, or what a single one of these things may take.
    pub(crate) fn new(what: &'static str, most: usize, single: usize) -> Arc<Self> {
        let most_of_client = (most / SHARE).max(single).min(most);
        Arc::new(Self { what, most, most_of_client, taken: AtomicUsize::new(0), accounts: Mutex::default() })
    }

    /// What is taken of it, in bytes.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Relaxed)
    }

    /// The account of a client, who may have one already.
    pub(crate) fn account(self: &Arc<Self>, network: IpAddr) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(&network).and_then(Weak::upgrade) {
            return account;
        }
        let account = Account { budget: Arc::clone(self), network, taken: AtomicUsize::new(0) };
        let account = Arc::new(account);
        accounts.insert(network, Arc::downgrade(&account));
        account
    }

    fn full(&self, whose: &str, most: usize) -> Fault {
        refused(limit::BUFFERED_BYTES);
        let what = self.what;
        let message = format!("{whose} has {what} of {most} bytes, as much as may be (--max-buffered-bytes)");
        Fault::new(Reason::RateLimited, message)
    }
}

impl Account {
    /// Whether so many bytes more have room. One thing always has, however large.
    ///
    /// # Errors
    /// RATE_LIMITED when the client, or all of them together, have too much already.
    pub(crate) fn check(&self, bytes: usize) -> Result<(), Fault> {
        let (own, all) = (self.taken.load(Relaxed), self.budget.taken());
        self.admits(own, all, bytes)
    }

    /// So many bytes, whether they have room or not: they are there already.
    pub(crate) fn count(self: &Arc<Self>, bytes: usize) -> Permit {
        self.add(bytes);
        Permit { account: Arc::clone(self), bytes }
    }

    /// No bytes yet.
    pub(crate) fn nothing(self: &Arc<Self>) -> Permit {
        Permit { account: Arc::clone(self), bytes: 0 }
    }

    /// Whether there is so much that not even refusals have room: each would be kept as well.
    pub(crate) fn is_beyond(&self) -> bool {
        let Budget { most, most_of_client, .. } = *self.budget;
        let is_beyond = |taken: usize, bound: usize| taken > bound.saturating_add(bound / BEYOND);
        is_beyond(self.taken.load(Relaxed), most_of_client) || is_beyond(self.budget.taken(), most)
    }

    /// What was taken before, by the client and by all.
    fn add(&self, bytes: usize) -> (usize, usize) {
        (self.taken.fetch_add(bytes, Relaxed), self.budget.taken.fetch_add(bytes, Relaxed))
    }

    fn give_back(&self, bytes: usize) {
        self.taken.fetch_sub(bytes, Relaxed);
        self.budget.taken.fetch_sub(bytes, Relaxed);
    }

    fn admits(&self, own: usize, all: usize, bytes: usize) -> Result<(), Fault> {
        let Budget { most, most_of_client, .. } = *self.budget;
        if own > 0 && own + bytes > most_of_client {
            return Err(self.budget.full("this address", most_of_client));
        }
        if all > 0 && all + bytes > most {
            return Err(self.budget.full("the edge", most));
        }
        Ok(())
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut accounts = self.budget.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        // The client may have come again meanwhile, and have another one.
        if accounts.get(&self.network).is_some_and(|account| account.strong_count() == 0) {
            accounts.remove(&self.network);
        }
    }
}

impl Permit {
    /// So many bytes more.
    ///
    /// # Errors
    /// As [`Account::check`]; then it counts what it did before.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Fault> {
        let (own, all) = self.account.add(bytes);
        if let Err(fault) = self.account.admits(own, all, bytes) {
            self.account.give_back(bytes);
            return Err(fault);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// So many of its bytes, or all that there are, as a permit of their own.
    pub(crate) fn split(&mut self, bytes: usize) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { account: Arc::clone(&self.account), bytes }
    }

    /// So many bytes in place of those before. One thing always has room, so they are given back first.
    ///
    /// # Errors
    /// As [`Account::check`]; then it counts nothing.
    pub(crate) fn resize(&mut self, bytes: usize) -> Result<(), Fault> {
        self.shrink(usize::MAX);
        self.grow(bytes)
    }

    /// So many bytes less, or none when there are not so many.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        drop(self.split(bytes));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.account.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    fn take(account: &Arc<Account>, bytes: usize) -> Result<Permit, Fault> {
        let mut permit = account.nothing();
        permit.grow(bytes)?;
        Ok(permit)
    }

    #[test]
    fn a_client_has_a_quarter_and_all_have_the_whole() {
        let budget = Budget::new("answers", 100, 1);
        let accounts: Vec<_> = (0..5).map(|client| budget.account(network(client))).collect();
        let mut held: Vec<Permit> =
            accounts[..4].iter().map(|account| take(account, 25).expect("a quarter")).collect();
        assert!(take(&accounts[0], 1).expect_err("more than a quarter").message.starts_with("this address"));
        assert!(take(&accounts[4], 1).expect_err("more than there is").message.starts_with("the edge"));
        assert_eq!(budget.taken(), 100);
        held[1].shrink(20);
        assert!(accounts[4].check(20).is_ok() && accounts[4].check(21).is_err());
        assert!(!accounts[4].is_beyond());
        let must = accounts[4].count(30);
        assert_eq!(budget.taken(), 110);
        // A quarter and an eighth of it.
        assert!(accounts[4].is_beyond() && !accounts[0].is_beyond());
        drop((held, must));
        assert_eq!(budget.taken(), 0);
        // One of any size has room where there is nothing else.
        assert!(take(&accounts[0], 1_000).is_ok());
    }

    #[test]
    fn a_permit_in_parts_counts_once() {
        let budget = Budget::new("answers", 100, 1);
        let mut whole = budget.account(network(1)).count(60);
        let (one, other) = (whole.split(20), whole.split(100));
        assert_eq!(budget.taken(), 60);
        drop((one, whole));
        assert_eq!(budget.taken(), 40);
        drop(other);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn clients_that_have_gone_are_forgotten() {
        let budget = Budget::new("answers", 100, 1);
        let (one, again) = (budget.account(network(1)), budget.account(network(1)));
        assert!(Arc::ptr_eq(&one, &again));
        drop((one, again));
        assert!(budget.accounts.lock().expect("no panic").is_empty());
    }
}
