//! As many connections as the operating system lets the process have files open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that are no connection of a client: listeners, connections to services, the runtime's own.
const RESERVE: u64 = 256;

/// Raises the soft limit of open files to the hard one, and gives the number of connections to take: `wanted`, or fewer where
/// the limit is lower. A connection that was accepted but finds no file for its call would harm those that work.
pub(crate) fn connections(wanted: usize) -> usize {
    let limit = match raised() {
        Ok(limit) => limit,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files is not known");
            return wanted;
        }
    };
    let allowed = usize::try_from(limit.saturating_sub(RESERVE).max(limit / 2)).unwrap_or(usize::MAX);
    if allowed < wanted {
        tracing::warn!(
            limit,
            connections.wanted = wanted,
            connections.taken = allowed,
            "too few open files are allowed"
        );
    }
    wanted.min(allowed).max(1)
}

fn raised() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() {
        return Ok(hard);
    }
    Ok(soft)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_raised_and_kept() {
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard / 2), hard).expect("a lower one");
        assert_eq!(
            connections(usize::MAX),
            usize::try_from(hard.saturating_sub(RESERVE).max(hard / 2)).expect("a number")
        );
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).expect("a limit"), (hard, hard));
        assert_eq!(connections(7), 7);
    }
}
