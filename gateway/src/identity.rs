//! Who is let in: before any call, and by the rule of the method that would be called.

use std::collections::BTreeMap;

use auth::{Rule, Rules, Verifier};
use chassis::{settings::ConfigErrors, status::Fault};
use http::HeaderMap;
use transcode::Routes;

/// Lets in who sends these headers, for a method with this rule; everyone where there is no issuer. The service verifies the token again: nobody believes a header. A method
/// without a rule is somebody else's: its caller has to have a token, and the service decides what for.
///
/// # Errors
/// UNAUTHENTICATED or SCOPE_MISSING.
pub(crate) async fn check(
    issuer: Option<&Verifier>,
    headers: &HeaderMap,
    rule: Option<&Rule>,
) -> Result<(), Fault> {
    let Some(issuer) = issuer else { return Ok(()) };
    let caller = issuer.caller(headers).await?;
    if let Some(rule) = rule {
        rule.admit(&caller)?;
    }
    Ok(())
}

/// The rules of the services that have routes; errors are noted.
pub(crate) fn rules(routes: &Routes, errors: &mut ConfigErrors) -> Rules {
    let services: BTreeMap<_, _> = routes
        .list()
        .iter()
        .map(|route| {
            let service = route.rpc.method.parent_service().clone();
            (service.full_name().to_owned(), service)
        })
        .collect();
    let (rules, wrong) = Rules::as_far_as_given(services.values());
    wrong.iter().for_each(|(method, error)| errors.note("--descriptor-set", format!("{method} {error}")));
    rules
}
