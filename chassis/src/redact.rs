//! What is shown of URLs: everything but their passwords.

/// What may be shown of a text that can be a URL with a password, or was meant to be one: scheme, user, host, port and path.
///
/// No parser is used, as most of what has to be shown is what a parser refused. So nothing before the last `@` is a host, wherever
/// it stands: a password may hold every other delimiter. Other text than URLs stays as it is.
#[must_use]
pub fn redacted(text: &str) -> String {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None if text.contains('@') => (String::new(), text),
        None => return text.to_owned(),
    };
    let (user, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let user = user.split([':', '/', '?', '#']).next().unwrap_or_default();
    let at = if user.is_empty() { "" } else { "@" };
    let place = place.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    // `user:password` without a host looks like a host with a port.
    let authority = match authority.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(']') && port.bytes().any(|byte| !byte.is_ascii_digit()) => host,
        _ => authority,
    };
    format!("{scheme}{user}{at}{authority}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_url_shows_its_password() {
        for (text, shown) in [
            ("amqp://o:hidden@mq:5672/%2f", "amqp://o@mq:5672/%2f"),
            ("amqp://o:hid@den@mq/v?heartbeat=5", "amqp://o@mq/v"),
            ("postgres://o:1/hidden@db/orders", "postgres://o@db/orders"),
            ("postgres://o:1?hidden@db/orders?password=hidden", "postgres://o@db/orders"),
            ("postgres://o:1#hidden@db", "postgres://o@db"),
            ("postgres://:hidden@db", "postgres://db"),
            ("postgres://o:hidden", "postgres://o"),
            ("postgres://db/orders?password=hidden", "postgres://db/orders"),
            ("postgres ://o:hidden@[::1]:99999/x", "postgres ://o@[::1]:99999/x"),
            ("o:hidden@db", "o@db"),
            ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
            ("127.0.0.1:no", "127.0.0.1:no"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }
}
