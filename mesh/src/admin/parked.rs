//! `ordermesh admin parked`: messages that could not be handled, and what is done about them.

mod act;
mod look;

use ordermesh::messaging::v1::DiscardParkedMessagesRequest;

use self::act::Redrive;
use super::{
    jobs,
    passed::Passed,
    service::{Admin, Service},
    show,
    which::{Which, Who},
};
use crate::services::Services;

/// What is done about parked messages.
#[derive(Debug, Clone, clap::Subcommand)]
pub(super) enum Parked {
    /// Lists them in the order they were parked: exit status 3 when there are any
    List {
        /// Only of this service
        #[arg(long)]
        service: Option<Service>,
        #[command(flatten)]
        which: Which,
        /// So many messages of each service at most
        #[arg(long, default_value = "50", value_parser = show::limit)]
        limit: usize,
    },
    /// Counts them by what they have in common, the largest groups first: exit status 3 when there are any
    Groups {
        /// Only of this service
        #[arg(long)]
        service: Option<Service>,
        #[command(flatten)]
        which: Which,
        /// So many groups of each service at most
        #[arg(long, default_value = "50", value_parser = clap::value_parser!(i32).range(1..))]
        limit: i32,
    },
    /// What a redrive would do, found out by doing it in a transaction that is rolled back: exit status 3 when not all would be done
    Preview {
        /// Of which service
        #[arg(long)]
        service: Service,
        #[command(flatten)]
        which: Which,
        /// The first so many, 1,000 at most
        #[arg(long, default_value = "100")]
        first: i32,
    },
    /// Sends them back to the consumer that parked them, and waits until each was tried: exit status 3 when not all are done
    Redrive(Redrive),
    /// Changes the payload of one by its number, and keeps the original
    Edit {
        /// Of which service
        #[arg(long)]
        service: Service,
        /// The number of the message
        sequence: i64,
        /// What is to be different, as a JSON object such as '{"amount":"300"}'; null takes a field away
        #[arg(long)]
        patch: String,
        #[command(flatten)]
        who: Who,
        /// Only shows what it would be
        #[arg(long)]
        dry_run: bool,
    },
    /// Removes them for good
    Discard {
        /// Of which service
        #[arg(long)]
        service: Service,
        #[command(flatten)]
        which: Which,
        /// Only the first so many, in the order they were parked; all when 0
        #[arg(long, default_value = "0", hide_default_value = true)]
        first: i64,
        #[command(flatten)]
        who: Who,
        /// Only counts them
        #[arg(long)]
        dry_run: bool,
    },
}

/// Looks at parked messages, or acts; whether nobody has to look.
///
/// # Errors
/// When a service cannot be asked, or refuses.
pub(super) async fn run(services: &Services, parked: Parked, as_json: bool) -> anyhow::Result<bool> {
    match parked {
        Parked::List { service, which, limit } => look::list(services, service, &which, limit, as_json).await,
        Parked::Groups { service, which, limit } => {
            look::groups(services, service, &which, limit, as_json).await
        }
        Parked::Preview { service, which, first } => {
            look::preview(services, service, &which, first, as_json).await
        }
        Parked::Redrive(redrive) if redrive.dry_run => act::count(services, redrive, as_json).await,
        Parked::Redrive(redrive) => {
            let (service, waits) = (redrive.service, !redrive.no_wait);
            let mut admin = Admin::new(service.of(services).await?);
            let filter = redrive.which.filter()?;
            let started = act::start(&mut admin, redrive).await?;
            // It is under way, whatever becomes of the count: its number is what has to be said.
            let passed =
                Passed::over(&mut admin, &filter, Some(started.redrive_id)).await.unwrap_or_default();
            jobs::follow(&mut admin, service, started, &passed, waits, as_json).await
        }
        Parked::Edit { service, sequence, patch, who, dry_run } => {
            let mut admin = Admin::new(service.of(services).await?);
            act::edit(&mut admin, service, sequence, &patch, who, dry_run, as_json).await
        }
        Parked::Discard { service, which, first, who, dry_run } => {
            let mut admin = Admin::new(service.of(services).await?);
            let Who { operator, reason } = who;
            let filter = Some(which.filter()?);
            let request =
                DiscardParkedMessagesRequest { filter, operator, reason, dry_run, max_messages: first };
            act::discard(&mut admin, service, request, as_json).await
        }
    }
}
