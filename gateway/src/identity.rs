//! The rules of the methods that the edge serves: callers are let in by them, before any call.

use std::collections::BTreeMap;

use auth::Rules;
use chassis::settings::ConfigErrors;
use transcode::Routes;

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
