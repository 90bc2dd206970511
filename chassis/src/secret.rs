//! Secrets: where they come from, and what is shown in their place.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

pub use secrecy::{ExposeSecret, SecretString};

use url::Url;

use crate::{redact::redacted, settings::ConfigErrors};

/// Takes the secret of `flag`: its value (or that of its environment variable), or the content of the file that `FLAG-file` names,
/// without the newline at its end. `None` when neither is given, and after an error was noted.
pub fn take(
    value: Option<SecretString>,
    file: Option<PathBuf>,
    flag: &str,
    errors: &mut ConfigErrors,
) -> Option<SecretString> {
    match (value, file) {
        (Some(_), Some(_)) => {
            errors.note(flag, format!("is given as well as {flag}-file: only one of them can hold"));
            None
        }
        (Some(value), None) if value.expose_secret().is_empty() => {
            errors.note(flag, "is empty");
            None
        }
        (Some(value), None) => Some(value),
        (None, Some(file)) => content(&file, &format!("{flag}-file"), errors),
        (None, None) => None,
    }
}

fn content(file: &Path, flag: &str, errors: &mut ConfigErrors) -> Option<SecretString> {
    // The file is named, and what is in it is not: an error of the system does not quote it.
    let problem = match fs::read_to_string(file) {
        Ok(text) => match text.trim_end_matches(['\r', '\n']) {
            "" => "it is empty".to_owned(),
            text => return Some(text.into()),
        },
        Err(error) => error.to_string(),
    };
    errors.note(flag, format!("cannot read a secret from {}: {problem}", file.display()));
    None
}

/// Takes the bearer token of the admin services, as [`take`].
pub fn admin_token(
    value: Option<SecretString>,
    file: Option<PathBuf>,
    errors: &mut ConfigErrors,
) -> Option<SecretString> {
    let token = take(value, file, "--admin-token", errors)?;
    // It comes in a header, which can hold nothing else (RFC 9110, section 5.5).
    let sendable = token.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
    errors.require(sendable, "--admin-token", "must be of visible ASCII characters");
    sendable.then_some(token)
}

/// A URL that may hold a password. It shows itself as [`redacted`].
#[derive(Clone)]
pub struct SecretUrl(SecretString);

impl SecretUrl {
    /// A URL of one of these schemes, with a host.
    ///
    /// # Errors
    /// What is wrong with it, without any of it.
    pub fn parse(text: SecretString, schemes: &[&str]) -> Result<Self, String> {
        let form = || {
            let schemes: Vec<_> = schemes.iter().map(|scheme| format!("{scheme}://")).collect();
            let schemes = schemes.join(" or ");
            format!(
                "expected {schemes} USER:PASSWORD@HOST:PORT/PATH, with `@ / ? # %` in a password as %40 %2F %3F %23 %25"
            )
        };
        let url = Url::parse(text.expose_secret()).map_err(|error| format!("{error}; {}", form()))?;
        // A password that is not encoded ends up in there, and the host is not the one that was meant.
        let astray = url.path().contains('@') || url.fragment().is_some();
        if !schemes.contains(&url.scheme()) || !url.has_host() || astray {
            return Err(form());
        }
        Ok(Self(text))
    }

    /// Several, with commas between them. A comma that no other URL comes behind belongs to the one before it.
    ///
    /// # Errors
    /// As [`SecretUrl::parse`].
    pub fn parse_all(text: &SecretString, schemes: &[&str]) -> Result<Vec<Self>, String> {
        let begins = |part: &str| {
            let begun = part.trim_start().split_once("://");
            begun.is_some_and(|(scheme, _)| schemes.contains(&scheme))
        };
        let mut urls: Vec<String> = Vec::new();
        for part in text.expose_secret().split(',') {
            match urls.last_mut() {
                Some(before) if !begins(part) => {
                    before.push(',');
                    before.push_str(part);
                }
                _ => urls.push(part.to_owned()),
            }
        }
        urls.into_iter().map(|url| Self::parse(url.trim().into(), schemes)).collect()
    }

    /// All of it.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redacted(self.expose()))
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_that_is_refused_is_not_quoted() {
        for text in
            ["", "hidden", "amqp:hidden", "http://hidden", "amqp://o:12/hidden@h", "amqp://o:hidden#@h"]
        {
            let error = SecretUrl::parse(text.into(), &["amqp", "amqps"]).expect_err(text);
            assert!(!error.contains("hidden") && error.contains("amqp:// or amqps://"), "{error}");
        }
        let url = SecretUrl::parse("amqp://o:hidden@h".into(), &["amqp"]).expect("a URL");
        assert_eq!(format!("{url} {url:?}"), "amqp://o@h amqp://o@h");
    }

    #[test]
    fn several_urls_have_commas_between_them() {
        let shown = |text: &str| {
            let urls = SecretUrl::parse_all(&text.into(), &["amqp", "amqps"]);
            urls.map(|urls| urls.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(shown("amqp://o:hidden@h"), Ok(vec!["amqp://o@h".to_owned()]));
        let several = shown("amqp://o:hid,den@h:1/%2f, amqps://o:hidden@i,amqp://[::1]:2");
        let each = ["amqp://o@h:1/%2f", "amqps://o@i", "amqp://[::1]:2"];
        assert_eq!(several, Ok(each.map(str::to_owned).to_vec()));
        for text in ["", "amqp://h,amqp://o:12/hidden@i", "amqp:hidden,amqp://h", "http://hidden,amqp://h"] {
            let error = shown(text).expect_err(text);
            assert!(!error.contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_secret_comes_from_one_place() -> std::io::Result<()> {
        let file = std::env::temp_dir().join(format!("ordermesh-secret-{}", std::process::id()));
        fs::write(&file, "hidden\r\n")?;
        let mut errors = ConfigErrors::default();
        let read = take(None, Some(file.clone()), "--x", &mut errors);
        assert_eq!(read.map(|secret| secret.expose_secret().to_owned()).as_deref(), Some("hidden"));
        assert!(take(None, None, "--x", &mut errors).is_none());
        errors.or(Some(())).expect("no errors so far");

        let mut errors = ConfigErrors::default();
        fs::write(&file, "\n")?;
        take(Some("hidden".into()), Some(file.clone()), "--both", &mut errors);
        take(None, Some(file.clone()), "--void", &mut errors);
        take(None, Some("/no/such/file".into()), "--gone", &mut errors);
        take(Some("".into()), None, "--nothing", &mut errors);
        admin_token(Some("hid den".into()), None, &mut errors);
        fs::remove_file(&file)?;
        let text = errors.or(Some(())).expect_err("five errors").to_string();
        assert!(text.starts_with("5 errors") && !text.contains("hid"), "{text}");
        for part in ["--both-file", "--void-file", "/no/such/file", "--nothing: is empty", "--admin-token"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        Ok(())
    }
}
