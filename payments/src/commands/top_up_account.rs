//! TopUpAccount: money comes in, booked once per key.

use std::{collections::HashMap, sync::Arc};

use chassis::{
    clock::Clock,
    status::{Fault, Reason},
};
use futures_util::future::BoxFuture;
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use service::request::key_reused;
use storage::{Executor, group::Batch, rows};

use crate::{
    domain::{
        book::Book,
        deposit::{Deposit, Refusal},
    },
    store::{
        accounts,
        entity::{account::Model as Account, ledger::Model as Entry},
        ledger,
    },
};

/// Books top-ups, a group in a transaction.
#[derive(Debug, Clone)]
pub struct TopUpAccount {
    /// Where entries take their time and their ids from.
    pub clock: Arc<dyn Clock>,
}

/// The booking, and whether an earlier call with the same key made it.
pub type Booked = Result<ToppedUp, Fault>;

/// A top-up as it was booked.
#[derive(Debug, Clone)]
pub struct ToppedUp {
    /// The account with this entry booked.
    pub account: Account,
    /// The entry.
    pub entry: Entry,
    /// Whether an earlier call with the same key booked it.
    pub replayed: bool,
}

impl Batch for TopUpAccount {
    type Request = Deposit;
    type Reply = Booked;
    type Prepared = ();

    fn prepare(&self, _: DbBackend, _: &[Deposit]) -> Result<(), DbErr> {
        Ok(())
    }

    fn apply<'t>(
        &'t self,
        transaction: Executor<'t>,
        deposits: &'t [Deposit],
        (): &'t (),
    ) -> BoxFuture<'t, Result<Vec<Booked>, DbErr>> {
        Box::pin(async move {
            let users = deposits.iter().map(|deposit| deposit.user_id.as_str());
            let mut book = Book::open(accounts::lock(&transaction, users).await?, self.clock.as_ref());
            // Looked up with the accounts held: no other transaction books on them meanwhile.
            let keys: Vec<(&str, &str)> = deposits.iter().filter_map(key).collect();
            let earlier = ledger::find_requests(&transaction, &keys).await?;
            let mut earlier: HashMap<(String, String), Entry> =
                earlier.into_iter().filter_map(|entry| Some((owned_key(&entry)?, entry))).collect();
            let replies =
                deposits.iter().map(|deposit| book_once(&mut book, &mut earlier, deposit)).collect();
            let bookings = book.close();
            let backend = transaction.get_database_backend();
            let mut writes = ledger::appends(backend, &bookings.entries)?;
            writes.extend(accounts::updates(backend, &bookings.accounts)?);
            rows::write(&transaction, &writes).await?;
            Ok(replies)
        })
    }
}

fn key(deposit: &Deposit) -> Option<(&str, &str)> {
    Some((&deposit.user_id, deposit.request_id.as_deref()?))
}

fn owned_key(entry: &Entry) -> Option<(String, String)> {
    Some((entry.user_id.clone(), entry.request_id.clone()?))
}

fn book_once(
    book: &mut Book<'_>,
    earlier: &mut HashMap<(String, String), Entry>,
    deposit: &Deposit,
) -> Booked {
    let known = key(deposit).and_then(|(user, key)| earlier.get(&(user.to_owned(), key.to_owned())));
    if let Some(entry) = known {
        return replay(book, entry, deposit);
    }
    let (account, entry) = book.deposit(deposit).map_err(|refusal| fault(refusal, deposit))?;
    if let Some(key) = owned_key(&entry) {
        earlier.insert(key, entry.clone());
    }
    Ok(ToppedUp { account, entry, replayed: false })
}

fn fault(refusal: Refusal, deposit: &Deposit) -> Fault {
    match refusal {
        Refusal::NoAccount => {
            Fault::new(Reason::AccountNotFound, format!("user {} has no account", deposit.user_id))
        }
        Refusal::OtherVersion(version) => {
            Fault::new(Reason::PreconditionFailed, format!("the account has version {version}"))
        }
        Refusal::OtherCurrency(currency) => Fault::new(
            Reason::CurrencyMismatch,
            format!("the account is held in {currency}, not in {}", deposit.currency_code),
        ),
        Refusal::BalanceLimit => {
            Fault::new(Reason::BalanceLimitExceeded, "the balance would pass 2^53 - 1 minor units")
        }
    }
}

/// The first answer again, from what never changes: the entry, and the account's currency and time of opening.
fn replay(book: &Book<'_>, entry: &Entry, deposit: &Deposit) -> Booked {
    let account =
        book.account(&entry.user_id).filter(|_| entry.fingerprint.as_deref() == Some(&deposit.fingerprint));
    let account = account.ok_or_else(key_reused)?;
    let account = Account {
        balance: entry.balance_after,
        version: entry.sequence,
        update_time: entry.create_time,
        ..account.clone()
    };
    Ok(ToppedUp { account, entry: entry.clone(), replayed: true })
}
