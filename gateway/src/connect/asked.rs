//! Whether a request is a call of Connect, and in what form its messages are.

use axum::body::Body;
use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chassis::status::{Fault, Reason};
use http::{HeaderValue, Method, header, request::Parts};
use url::form_urlencoded;

use crate::{
    contract::{Called, Form},
    request::headers::declares_json,
};

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub(super) form: Form,
    /// Whether messages come in envelopes.
    pub(super) streams: bool,
}

impl Asked {
    /// What the content type says, or the query of a GET; `None` for a request that does not call this method.
    pub(super) fn of(parts: &Parts, called: &Called) -> Option<Self> {
        let asked = match parts.method {
            Method::GET if called.is_safe => Self::by_query(parts),
            Method::POST => Self::by_type(parts),
            _ => None,
        };
        asked.filter(|asked| asked.streams == called.streams)
    }

    fn by_query(parts: &Parts) -> Option<Self> {
        let form = parts.uri.query()?.split('&').find_map(|pair| pair.strip_prefix("encoding="))?;
        Some(Self { form: Form::named(form)?, streams: false })
    }

    fn by_type(parts: &Parts) -> Option<Self> {
        let kind = parts.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next()?.trim().to_ascii_lowercase();
        let name = kind.strip_prefix("application/")?;
        let (name, streams) = name.strip_prefix("connect+").map_or((name, false), |name| (name, true));
        let form = Form::named(name)?;
        // JSON is in UTF-8 here too.
        (form == Form::Proto || declares_json(&parts.headers)).then_some(Self { form, streams })
    }

    /// The content type of the answer.
    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match (self.form, self.streams) {
            (Form::Json, false) => "application/json",
            (Form::Proto, false) => "application/proto",
            (Form::Json, true) => "application/connect+json",
            (Form::Proto, true) => "application/connect+proto",
        })
    }
}

/// The message in the query of a GET as a body, with its coding as that of one.
///
/// # Errors
/// MALFORMED_REQUEST.
pub(super) fn of_query(parts: &mut Parts) -> Result<Body, Fault> {
    const ANY_PADDING: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, ANY_PADDING);
    let malformed = |problem: &str| Fault::new(Reason::MalformedRequest, problem);
    let (mut message, mut coded, mut version) = (None, false, None);
    // Of the message only the query says something.
    parts.headers.remove(header::CONTENT_ENCODING);
    for (name, value) in form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        match &*name {
            "message" if message.is_some() => return Err(malformed("the query has more than one message")),
            "message" => message = Some(value.into_owned()),
            "base64" => coded = value == "1",
            "connect" => version = Some(value.into_owned()),
            "compression" => {
                let coding =
                    HeaderValue::from_str(&value).map_err(|_| malformed("compression is no coding"))?;
                parts.headers.insert(header::CONTENT_ENCODING, coding);
            }
            _ => {}
        }
    }
    if version.is_some_and(|version| version != "v1") {
        return Err(malformed("connect must be v1"));
    }
    let message = message.ok_or_else(|| malformed("the query has no message"))?;
    if !coded {
        return Ok(Body::from(message));
    }
    BASE64.decode(message).map(Body::from).map_err(|_| malformed("the message is not base64"))
}
