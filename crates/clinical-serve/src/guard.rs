//! Who may ask: keys, and no web page of somebody else.
//!
//! A page from anywhere can make a browser send requests to a server on the reader's machine. It cannot choose the
//! headers `Host` and `Origin`: a name that is not the server's is a foreign page whose name was made to resolve to
//! this machine (DNS rebinding), and another origin is a foreign page that says so.

use std::net::IpAddr;
use std::path::Path;

use axum::http::{HeaderMap, Method, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::reply::ApiError;
use crate::{Error, Result};

/// The fewest characters of a key.
const SHORTEST: usize = 16;

/// The most bytes of a key file.
const MOST: u64 = 1 << 20;

/// Keys, of which only the hashes are kept: comparing takes the same time whatever a key is, and however long.
pub(crate) struct Keys(Vec<[u8; 32]>);

impl Keys {
    /// Reads a file with one key a line.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let wrong = |reason: String| Error::Keys {
            path: path.to_owned(),
            reason,
        };
        let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
        if !size.is_file() || size.len() > MOST {
            return Err(wrong(format!("it is no file of at most {MOST} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
        let mut keys = Vec::new();
        for (line, key) in text.lines().enumerate() {
            let key = key.trim();
            if key.is_empty() || key.starts_with('#') {
                continue;
            }
            if key.len() < SHORTEST || !key.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(wrong(format!(
                    "line {} is no key: give at least {SHORTEST} letters, digits and marks",
                    line + 1
                )));
            }
            keys.push(Sha256::digest(key.as_bytes()).into());
        }
        match keys.is_empty() {
            true => Err(wrong("it holds no key".to_owned())),
            false => Ok(Self(keys)),
        }
    }

    /// Checks the key of a request.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let given = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.as_bytes().split_at_checked(7))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .map(|(_, key)| key.trim_ascii());
        let given: [u8; 32] = Sha256::digest(given.unwrap_or_default()).into();
        let mut known = subtle::Choice::from(0);
        for key in &self.0 {
            known |= key.ct_eq(&given);
        }
        match bool::from(known) {
            true => Ok(()),
            false => Err(ApiError::unauthorized()),
        }
    }
}

/// Refuses requests of pages that are not the server's own.
pub(crate) fn check_page(
    method: &Method,
    headers: &HeaderMap,
    names: &[String],
) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = text(header::HOST).unwrap_or_default();
    if !is_own(host, names) {
        return Err(ApiError::forbidden(
            "wrong_host",
            "the header `Host` is not this server's: ask for it by `localhost` or a numeric address, or start it with \
             the name that its users know",
        ));
    }
    if let Some(origin) = text(header::ORIGIN) {
        let its = origin.split_once("://").map(|(_, host)| host);
        if its.is_none_or(|its| !its.eq_ignore_ascii_case(host)) {
            let message = "a page of another origin may not ask this server";
            return Err(ApiError::forbidden("wrong_origin", message));
        }
    }
    // Browsers that say nothing of an origin in simple requests say this; a link to the page is fine.
    let is_link = method == Method::GET
        && headers
            .get("sec-fetch-mode")
            .is_some_and(|v| v == "navigate");
    let site = headers.get("sec-fetch-site");
    let is_foreign = site.is_some_and(|site| site != "same-origin" && site != "none");
    if is_foreign && !is_link {
        let message = "a page of another site may not ask this server";
        return Err(ApiError::forbidden("wrong_origin", message));
    }
    Ok(())
}

/// Whether a `Host` is a numeric address, `localhost`, or one of the names.
fn is_own(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if is_port(port) => name,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return false,
            None => host,
        },
    };
    let name = name.to_ascii_lowercase();
    name.parse::<IpAddr>().is_ok() || name == "localhost" || names.contains(&name)
}

fn is_port(text: &str) -> bool {
    let digits = text.strip_prefix(':').unwrap_or(text);
    digits.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let names = ["notes.ward.example".to_owned()];
        for host in [
            "localhost",
            "localhost:8080",
            "127.0.0.1:80",
            "[::1]:8080",
            "[::1]",
            "10.0.0.5",
            "Notes.Ward.example:443",
        ] {
            assert!(is_own(host, &names), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "evil.example:80",
            "127.0.0.1.evil.example",
            "[::1]evil",
            "[::1",
            "localhost:80@evil",
            "a:b:c",
        ] {
            assert!(!is_own(host, &names), "{host}");
        }
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in all {
            headers.insert(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn origins() {
        let check =
            |method, all: &[(&'static str, &str)]| check_page(&method, &headers(all), &[]).is_ok();
        let host = ("host", "localhost:8080");
        assert!(check(Method::POST, &[host]));
        assert!(check(
            Method::POST,
            &[host, ("origin", "http://localhost:8080")]
        ));
        for origin in [
            "http://evil.example",
            "null",
            "http://localhost:8081",
            "http://127.0.0.1:8080",
        ] {
            assert!(
                !check(Method::POST, &[host, ("origin", origin)]),
                "{origin}"
            );
        }
        let foreign = ("sec-fetch-site", "cross-site");
        assert!(!check(Method::GET, &[host, foreign]));
        let link = ("sec-fetch-mode", "navigate");
        assert!(check(Method::GET, &[host, foreign, link]));
        assert!(!check(Method::POST, &[host, foreign, link]));
        assert!(!check(Method::GET, &[]));
    }

    #[test]
    fn keys_are_read_and_compared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys");
        std::fs::write(
            &path,
            "# of the ward\n\n0123456789abcdef\nfedcba9876543210\n",
        )
        .unwrap();
        let keys = Keys::read(&path).unwrap();
        let check = |value: &str| keys.check(&headers(&[("authorization", value)])).is_ok();
        assert!(check("Bearer 0123456789abcdef") && check("bearer fedcba9876543210"));
        for value in [
            "Bearer 0123456789abcdeF",
            "Bearer ",
            "0123456789abcdef",
            "Basic x",
            "B",
        ] {
            assert!(!check(value), "{value}");
        }
        assert!(keys.check(&HeaderMap::new()).is_err());
        for text in ["", "# none\n", "short\n", "with a blank inside\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(
                matches!(Keys::read(&path), Err(Error::Keys { .. })),
                "{text}"
            );
        }
        assert!(Keys::read(dir.path()).is_err());
    }
}
