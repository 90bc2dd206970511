//! What the documents say of the whole.

use transcode::openapi::{About, Habits, Listed, Tokens};

const OURS: &str = "Orders and payments that can be trusted with money.\n\n\
    Send an `Idempotency-Key` with every write: a call whose answer was lost can be repeated, and gets the first answer again. Decide by the \
    `reason` of an error and not by its text: `/errors/` of this server has all of them, with what to do about each. Amounts are whole minor \
    units (kopecks, cents), and text in JSON, as all 64-bit numbers are. An order is paid in the background: it is answered as NEW, and becomes \
    FINISHED or CANCELLED.";

const OTHERS: &str = "Services of gRPC as HTTP/JSON. Decide by the `reason` of an error and not by its text: `/errors/` of this server has \
    those of the server itself, with what to do about each.";

const TOKEN: &str = "A token of the issuer, for the scope that the operation names. Its subject is the user.";

/// A document of this name about these routes; whether callers need a token of an issuer.
pub(super) fn of<'a>(title: &'a str, listed: &[Listed<'_>], has_issuer: bool) -> About<'a> {
    let is_ours = is_ours(listed);
    let tokens = match has_issuer {
        true => Tokens::Needed,
        // Nobody is asked who calls, unless a service that is not ours asks.
        false if is_ours => Tokens::None,
        false => Tokens::Optional,
    };
    About {
        title,
        description: if is_ours { OURS } else { OTHERS },
        contact: is_ours.then_some("The ordermesh authors"),
        license: is_ours.then_some(["MIT", "MIT"]),
        tokens,
        token: TOKEN,
        habits: Habits { times: true, tags: true, replays: true, errors: true },
    }
}

/// Whether all services are those of this project.
pub(super) fn is_ours(listed: &[Listed<'_>]) -> bool {
    listed.iter().all(|one| one.route.rpc.service.starts_with("ordermesh."))
}
