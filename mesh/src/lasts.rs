//! How long what is made for development is valid.

use std::time::Duration;

use chassis::settings::{Checked, ConfigErrors};

/// Certificates and tokens have whole seconds.
const SHORTEST: Duration = Duration::from_secs(1);
/// A hundred years. Beyond the year 9999 there is no date in a certificate.
const LONGEST: Duration = Duration::from_secs(36_500 * 86_400);

/// The value of `--for`; `None` after an error was noted.
pub(crate) fn take(given: Checked<humantime::Duration>, errors: &mut ConfigErrors) -> Option<Duration> {
    let lasts = given.take("--for", errors).map(Duration::from)?;
    let is_within = (SHORTEST..=LONGEST).contains(&lasts);
    errors.require(is_within, "--for", "has to be between 1s and 36500d");
    is_within.then_some(lasts)
}
