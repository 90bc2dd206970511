//! OpenAPI of what the operator's listener answers.

use auth::Rule;
use chassis::status::Reason;
use transcode::{
    Body, Route,
    openapi::{self, About, Failure, Habits, Ids, Listed, Tokens},
};

use super::mount::Mounted;

const DESCRIPTION: &str = "What an operator asks and does: where an order is and why it does not get on, parked messages, who did what, accounts \
    and sums. Decide by the `reason` of an error: `/errors/` of this listener has all of them, with what to do about each.";

/// Of the whole. A request says no time here, answers have no tags, and errors are always problem details.
const ABOUT: About<'_> = About {
    title: "ordermesh admin services",
    description: DESCRIPTION,
    contact: Some("The ordermesh authors"),
    license: Some(["MIT", "MIT"]),
    tokens: Tokens::Needed,
    token: "The ADMIN_TOKEN, or a token of the issuer for the scope that the operation names.",
    habits: Habits { times: false, tags: false, replays: true, errors: false },
};

/// One document about all services. It is served at the root of the listener, and says so relative to itself.
pub(super) fn of(mounts: &[Mounted]) -> String {
    let routes: Vec<(&Route, &str, Option<Rule>, Vec<Failure>)> = mounts
        .iter()
        .flat_map(|mounted| mounted.list().iter().map(|route| (&**route, mounted.authority.as_str())))
        .map(|(route, authority)| {
            (route, authority, Rule::of(&route.rpc.method).ok().flatten(), failures(route))
        })
        .collect();
    let listed: Vec<Listed<'_>> = routes
        .iter()
        .map(|(route, authority, rule, failures)| Listed {
            route,
            authority,
            scope: rule.as_ref().map(|rule| rule.scope.as_str()),
            // An operator names whom it means.
            owner: None,
            failures,
        })
        .collect();
    openapi::with_server(&openapi::document(&ABOUT, &listed, &Ids::of(&listed)).to_string(), "../..")
}

/// What a call can fail for, by its shape and by its contract.
fn failures(route: &Route) -> Vec<Failure> {
    let mut reasons =
        vec![Reason::MalformedRequest, Reason::InvalidField, Reason::Unauthenticated, Reason::ScopeMissing];
    if route.body != Body::Nothing {
        reasons.extend([Reason::BodyTooLarge, Reason::UnsupportedMediaType]);
    }
    let named = openapi::texts(&route.rpc.method, ordermesh::REASONS);
    reasons.extend(named.iter().filter_map(|name| Reason::parse(name)));
    reasons.push(Reason::StorageUnavailable);
    let failure =
        |reason: Reason| Failure { status: reason.http().as_u16(), reason: reason.as_str().to_owned() };
    reasons.into_iter().map(failure).collect()
}
