//! Keeps other web sites out.
//!
//! Any page in any browser can reach a port of its own machine. Two ways in, both closed here:
//! * a page of another site opens a WebSocket or sends a request: its `Origin` gives it away;
//! * DNS rebinding: the other site's *name* is made to point at this machine, and `Origin` and `Host` agree. So `Host`
//!   has to be a name that this relay is known by.

use super::Refusal;
use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use std::net::SocketAddr;

/// Port that `http` URLs do not show.
const HTTP_PORT: u16 = 80;

/// Who may talk to this relay.
#[derive(Debug)]
pub(super) struct Guard {
    /// Names of this relay as `Host` has them, in lower case.
    hosts: Vec<String>,
    /// Of those in `hosts`, the ones that are good with any port.
    any_port: Vec<String>,
    origins: Vec<String>,
}

impl Guard {
    pub(super) fn new(address: SocketAddr, hosts: &[String], origins: &[String]) -> Self {
        let port = address.port();
        let mut known = Vec::new();
        for name in ["127.0.0.1", "localhost", "[::1]"] {
            known.push(format!("{name}:{port}"));
            if port == HTTP_PORT {
                known.push(name.to_owned());
            }
        }
        let mut any_port = Vec::new();
        for host in hosts {
            let host = host.to_ascii_lowercase();
            if without_port(&host) == host { any_port.push(host) } else { known.push(host) }
        }
        let origins = origins.iter().map(|o| o.trim_end_matches('/').to_ascii_lowercase());
        Self { hosts: known, any_port, origins: origins.collect() }
    }

    /// For requests that do something: uploads and sessions.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = single(headers, HOST)?.unwrap_or_default();
        if !self.is_known(&host) {
            return Err(forbidden(format!(
                "this relay is not known as `{host}`: open it under the address it printed, or start it with --allow-host {host}"
            )));
        }
        match single(headers, ORIGIN)? {
            Some(origin) if !self.is_own(&origin) && !self.origins.contains(&origin) => {
                Err(forbidden(format!(
                    "pages of `{origin}` may not use this relay: start it with --allow-origin {origin} to let them"
                )))
            }
            _ => Ok(()),
        }
    }

    /// Whether a page of this origin may read answers although it is from elsewhere.
    pub(super) fn is_allowed_elsewhere(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|origin| self.origins.contains(&origin.to_ascii_lowercase()))
    }

    fn is_known(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known == host)
            || self.any_port.iter().any(|known| known == without_port(host))
    }

    fn is_own(&self, origin: &str) -> bool {
        origin.strip_prefix("http://").is_some_and(|host| self.is_known(host))
    }
}

/// `host` of `host:port`, also where the host is an IPv6 address in brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The value of a header that may come once, in lower case.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(&name).iter();
    let value = values.next();
    if values.next().is_some() {
        return Err(forbidden(format!("the request has more than one `{name}`")));
    }
    let text = value.map(HeaderValue::to_str).transpose();
    let text = text.map_err(|_| forbidden(format!("`{name}` has characters it may not have")))?;
    Ok(text.map(str::to_ascii_lowercase))
}

fn forbidden(message: String) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(host: &str, origin: Option<&str>) -> bool {
        let hosts = ["relay.test".to_owned(), "relay.test:99".to_owned(), "box:7".to_owned()];
        let origins = ["https://App.example/".to_owned()];
        let guard = Guard::new(([127, 0, 0, 1], 8080).into(), &hosts, &origins);
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        guard.check(&headers).is_ok()
    }

    #[test]
    fn own_names_and_listed_ones_are_let_in() {
        for host in [
            "127.0.0.1:8080",
            "localhost:8080",
            "LOCALHOST:8080",
            "[::1]:8080",
            "relay.test",
            "relay.test:1",
            "box:7",
        ] {
            assert!(allowed(host, None), "{host}");
            assert!(allowed(host, Some(&format!("http://{host}"))), "{host}");
        }
        assert!(allowed("localhost:8080", Some("http://127.0.0.1:8080")));
        assert!(allowed("localhost:8080", Some("https://app.example")));
    }

    #[test]
    fn everyone_else_is_not() {
        for host in [
            "evil.test",
            "evil.test:8080",
            "localhost",
            "localhost:81",
            "box",
            "",
            "[::1]",
            "127.0.0.1.evil.test:8080",
        ] {
            assert!(!allowed(host, None), "{host}");
        }
        for origin in [
            "http://evil.test",
            "null",
            "http://localhost",
            "http://localhost:81",
            "https://localhost:8080",
            "http://app.example",
            "http://localhost:8080.evil.test",
        ] {
            assert!(!allowed("localhost:8080", Some(origin)), "{origin}");
        }
    }

    #[test]
    fn two_hosts_are_one_too_many() {
        let guard = Guard::new(([127, 0, 0, 1], 8080).into(), &[], &[]);
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost:8080".parse().unwrap());
        headers.append(HOST, "evil.test".parse().unwrap());
        assert!(guard.check(&headers).is_err());
    }
}
