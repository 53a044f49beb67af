//! The page: one file in the program, which asks nobody but this server.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderValue, Response, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use crate::app::App;

const HTML: &str = include_str!("page.html");

/// The page and what browsers let it do.
pub(crate) struct Page {
    policy: HeaderValue,
}

impl Page {
    pub(crate) fn new() -> Self {
        let policy = HeaderValue::from_str(&policy(HTML));
        // Hashes in base64 are always a header's value; without them nothing would run.
        let nothing = || HeaderValue::from_static("default-src 'none'");
        Self {
            policy: policy.unwrap_or_else(|_| nothing()),
        }
    }
}

/// `/`.
pub(crate) async fn page(State(app): State<Arc<App>>) -> Response<Body> {
    let mut response = Response::new(Body::from(HTML));
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CONTENT_SECURITY_POLICY, app.page.policy.clone());
    response
}

/// Only the page's own script and style, by their hashes, and only requests to this server.
fn policy(html: &str) -> String {
    let hash = |tag: &str| {
        let start = format!("<{tag}>");
        let end = format!("</{tag}>");
        let text = html
            .split_once(&start)
            .and_then(|(_, rest)| rest.split_once(&end))
            .map_or("", |(text, _)| text);
        format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
    };
    format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        hash("script"),
        hash("style"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_has_the_hash_of_the_only_script_and_of_the_only_style() {
        let policy = policy("<style>a</style><script>let b;</script>");
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text));
        assert!(policy.contains(&format!("style-src 'sha256-{}'", hash("a"))));
        assert!(policy.contains(&format!("script-src 'sha256-{}'", hash("let b;"))));
        assert_eq!(HTML.matches("<script").count(), 1);
        assert_eq!(HTML.matches("<style").count(), 1);
        assert!(HTML.contains("<script>\n") && HTML.contains("<style>\n"));
    }

    #[test]
    fn the_page_writes_text_as_text_and_names_no_other_place() {
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "http://",
            "https://",
            "//cdn",
            " onclick=",
            " style=",
            "javascript:",
        ] {
            assert!(!HTML.contains(word), "{word}");
        }
    }
}
