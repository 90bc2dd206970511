//! The routes of the pages, and the headers of their files.

use axum::{Router, body::Body, response::Response, routing::get};
use bytes::Bytes;
use chassis::media;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::files::{FILES, File};

/// The pages are scripts and styles of their own, and talk to nobody but the listener that they came from. Nothing is inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What every file has (the last two: <https://www.w3.org/TR/referrer-policy/>, <https://html.spec.whatwg.org/#cross-origin-opener-policies>).
const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// The shop, below `/shop/`: a client of the API beside it.
pub fn shop<S: Clone + Send + Sync + 'static>() -> Router<S> {
    pages("shop", "shop")
}

/// The operations room, below `/console/`: a client of `/admin/v1/` and `/metrics` beside it.
pub fn operations<S: Clone + Send + Sync + 'static>() -> Router<S> {
    pages("console", "operations")
}

/// The application in the folder `application` of `dist/`, below `/{at}/`: a route for each file, so that all else is answered as elsewhere.
fn pages<S: Clone + Send + Sync + 'static>(at: &str, application: &str) -> Router<S> {
    // Links of the pages are relative, so the slash counts, and so is this one: a prefix in front of all stays.
    let slash = [(header::LOCATION, format!("{at}/"))];
    let mut router =
        Router::new().route(&format!("/{at}"), get(async move || (StatusCode::PERMANENT_REDIRECT, slash)));
    for file in FILES {
        let Some(name) = file.name.strip_prefix(application).and_then(|name| name.strip_prefix('/')) else {
            continue;
        };
        let path = format!("/{at}/{}", if name == "index.html" { "" } else { name });
        router = router.route(&path, get(async move |headers: HeaderMap| answer(&headers, file)));
    }
    router
}

/// A file, in the coding that the request accepts; 304 when its client has it.
pub(crate) fn answer(request: &HeaderMap, file: &File) -> Response {
    let tag = format!("W/\"{}\"", file.digest);
    let has_it = list(request, &header::IF_NONE_MATCH).any(|known| known == tag || known == "*");
    let compressed = media::coding(request, &["gzip"]).is_some();
    let mut response = Response::new(match (has_it, compressed) {
        (true, _) => Body::empty(),
        (false, true) => Bytes::from_static(file.gzip).into(),
        (false, false) => Bytes::from_static(file.plain).into(),
    });
    if has_it {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    let caching = if file.is_immutable() { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    headers.extend(HeaderValue::from_str(&tag).map(|tag| (header::ETAG, tag)));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media_type()));
    if compressed && !has_it {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// The members of a header that is a list.
fn list<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use axum::extract::Request;
    use flate2::read::GzDecoder;
    use http_body_util::BodyExt as _;
    use tower::ServiceExt as _;

    use super::*;

    /// What a request of `path` with this header gets.
    async fn asked(path: &str, header: (HeaderName, &str)) -> anyhow::Result<(StatusCode, HeaderMap, Bytes)> {
        let request = Request::get(path).header(header.0, header.1).body(Body::empty())?;
        let Ok(response) =
            shop::<()>().merge(operations()).merge(crate::start::start()).oneshot(request).await;
        let (parts, body) = response.into_parts();
        Ok((parts.status, parts.headers, body.collect().await?.to_bytes()))
    }

    #[tokio::test]
    async fn every_file_is_there_plain_and_compressed() -> anyhow::Result<()> {
        for file in FILES {
            let Some(name) = file.name.strip_prefix("shop/").filter(|name| *name != "index.html") else {
                continue;
            };
            let path = format!("/shop/{name}");
            let (status, headers, plain) = asked(&path, (header::ACCEPT_ENCODING, "br, gzip;q=0")).await?;
            assert!(status == StatusCode::OK && !headers.contains_key(header::CONTENT_ENCODING), "{path}");
            assert_eq!(plain, file.plain, "{path}");
            let (_, headers, whole) = asked(&path, (header::ACCEPT_ENCODING, "gzip;q=0.5, identity")).await?;
            assert!(!headers.contains_key(header::CONTENT_ENCODING) && whole == plain, "{path}");
            let (_, headers, gzip) = asked(&path, (header::ACCEPT_ENCODING, "br, gzip")).await?;
            assert_eq!(headers[header::CONTENT_ENCODING], "gzip", "{path}");
            let mut unpacked = Vec::new();
            GzDecoder::new(&gzip[..]).read_to_end(&mut unpacked)?;
            assert_eq!(unpacked, plain, "{path}");
            let tag = headers[header::ETAG].to_str()?.to_owned();
            let (status, _, nothing) = asked(&path, (header::IF_NONE_MATCH, &tag)).await?;
            assert_eq!((status, nothing.len()), (StatusCode::NOT_MODIFIED, 0), "{path}");
            let lasting = headers[header::CACHE_CONTROL].to_str()?.contains("immutable");
            assert_eq!(lasting, name.contains("assets/"), "{path}");
        }
        Ok(())
    }

    #[tokio::test]
    async fn a_page_is_a_folder() -> anyhow::Result<()> {
        let any = || (header::ACCEPT, "*/*");
        for at in ["shop", "console"] {
            let (status, headers, _) = asked(&format!("/{at}"), any()).await?;
            assert_eq!(
                (status, headers[header::LOCATION].to_str()?),
                (StatusCode::PERMANENT_REDIRECT, &*format!("{at}/"))
            );
            let (status, headers, page) = asked(&format!("/{at}/"), any()).await?;
            assert!(status == StatusCode::OK && page.starts_with(b"<!doctype html>"), "{page:?}");
            assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY);
        }
        let (_, headers, start) = asked("/", (header::ACCEPT, "text/html")).await?;
        assert!(start.starts_with(b"<!doctype html>"), "{start:?}");
        assert_eq!(headers[header::CONTENT_SECURITY_POLICY], POLICY);
        assert!(POLICY.starts_with("default-src 'none'") && !POLICY.contains("unsafe"), "{POLICY}");
        for outside in ["/shop/nothing", "/shop/../operations/index.html", "/shop/assets/"] {
            assert_eq!(asked(outside, any()).await?.0, StatusCode::NOT_FOUND, "{outside}");
        }
        Ok(())
    }

    #[test]
    fn both_pages_are_small() {
        let bytes: usize = FILES.iter().map(|file| file.gzip.len()).sum();
        assert!(bytes <= 120 << 10, "{bytes} bytes");
    }
}
