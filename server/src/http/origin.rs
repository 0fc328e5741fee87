//! Protection against other web sites.
//!
//! Any page in any browser can reach a port of its own machine. There are two attacks, both prevented here:
//! * a page of another site opens a WebSocket or sends a request: its `Origin` shows that;
//! * DNS rebinding: the *name* of the other site is made to resolve to this machine, so that `Origin` and `Host` agree.
//!   So `Host` has to be a name configured for this relay.

use super::Refusal;
use hyper::StatusCode;
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN};
use std::net::{IpAddr, SocketAddr};

/// Default ports, which URLs omit.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// Addresses and names of a relay.
pub(super) struct Known<'a> {
    /// The address on which it listens.
    pub(super) address: SocketAddr,
    pub(super) is_tls: bool,
    /// Its names besides those of the loopback interface, with or without a port.
    pub(super) hosts: &'a [String],
    /// Other origins whose pages may use it.
    pub(super) origins: &'a [String],
}

/// Decides which requests this relay accepts.
#[derive(Debug)]
pub(super) struct Guard {
    /// Names of this relay on its own machine, as in `Host`.
    local: Vec<String>,
    /// Its other names, in lower case.
    hosts: Vec<String>,
    /// Names in `hosts` without a port, which match any port.
    any_port: Vec<String>,
    origins: Vec<String>,
    /// Scheme of its own origins, including `://`.
    scheme: &'static str,
    /// Whether requests that change something need a token.
    has_tokens: bool,
}

impl Guard {
    pub(super) fn new(relay: &Known<'_>, has_tokens: bool) -> Self {
        let port = relay.address.port();
        let (scheme, hidden) =
            if relay.is_tls { ("https://", HTTPS_PORT) } else { ("http://", HTTP_PORT) };
        let (mut local, mut known) = (Vec::new(), Vec::new());
        for name in ["127.0.0.1", "localhost", "[::1]"] {
            local.push(format!("{name}:{port}"));
            if port == hidden {
                local.push(name.to_owned());
            }
        }
        let mut any_port = Vec::new();
        for host in relay.hosts {
            let host = host.to_ascii_lowercase();
            if without_port(&host) == host { any_port.push(host) } else { known.push(host) }
        }
        let origins = relay.origins.iter().map(|o| o.trim_end_matches('/').to_ascii_lowercase());
        let origins = origins.collect();
        Self { local, hosts: known, any_port, origins, scheme, has_tokens }
    }

    /// Checks requests of this peer that need more than a page's `Origin`: uploads, state, and sessions. A program
    /// sends no `Origin`: it needs a token, or has to be on this machine.
    pub(super) fn check_acting(&self, headers: &HeaderMap, peer: IpAddr) -> Result<(), Refusal> {
        self.check(headers)?;
        if self.has_tokens || peer.to_canonical().is_loopback() {
            return Ok(());
        }
        let host = single(headers, HOST)?.unwrap_or_default();
        if !self.has_name(&host) {
            return Err(forbidden(format!(
                "`{host}` is a name on the relay's own machine, and this request comes from {peer}: use a name given by --allow-host; if a port of that machine is forwarded to this relay, start the relay with --allow-host {host}"
            )));
        }
        if headers.contains_key(ORIGIN) {
            return Ok(());
        }
        Err(forbidden(format!(
            "without an `Origin` this relay accepts requests from its own machine only, not from {peer}: configure tokens to admit programs"
        )))
    }

    /// Checks every request except public ones.
    pub(super) fn check(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = single(headers, HOST)?.unwrap_or_default();
        if !self.is_known(&host) {
            return Err(forbidden(format!(
                "this relay is not known as `{host}`: open it at the address it printed, or start it with --allow-host {host}"
            )));
        }
        match single(headers, ORIGIN)? {
            Some(origin) if self.is_own(&origin) || self.origins.contains(&origin) => Ok(()),
            // All pages without an origin send `null`, so it cannot be allowed.
            Some(origin) if origin == "null" => Err(forbidden(
                "a page from a file or in a sandbox has no origin, and may not use this relay: serve it by HTTP, by this relay (--web) or from an allowed origin".to_owned(),
            )),
            Some(origin) => {
                Err(forbidden(format!(
                    "pages of `{origin}` may not use this relay: start it with --allow-origin {origin} to allow them"
                )))
            }
            None => Ok(()),
        }
    }

    /// Whether a page of this other origin may read answers.
    pub(super) fn is_allowed_elsewhere(&self, origin: &HeaderValue) -> bool {
        origin.to_str().is_ok_and(|origin| self.origins.contains(&origin.to_ascii_lowercase()))
    }

    fn is_known(&self, host: &str) -> bool {
        self.local.iter().any(|known| known == host) || self.has_name(host)
    }

    /// Whether this is one of the configured names.
    fn has_name(&self, host: &str) -> bool {
        self.hosts.iter().any(|known| known == host)
            || self.any_port.iter().any(|known| known == without_port(host))
    }

    fn is_own(&self, origin: &str) -> bool {
        origin.strip_prefix(self.scheme).is_some_and(|host| self.is_known(host))
    }
}

/// `host` of `host:port`, also if the host is an IPv6 address in brackets.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The value of a header that must not be repeated, in lower case.
fn single(headers: &HeaderMap, name: HeaderName) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(&name).iter();
    let value = values.next();
    if values.next().is_some() {
        let what = format!("the request has more than one `{name}`");
        return Err(Refusal::new(StatusCode::BAD_REQUEST, what));
    }
    let text = value.map(HeaderValue::to_str).transpose();
    let text = text.map_err(|_| forbidden(format!("`{name}` has invalid characters")))?;
    Ok(text.map(str::to_ascii_lowercase))
}

fn forbidden(message: String) -> Refusal {
    Refusal::new(StatusCode::FORBIDDEN, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(is_tls: bool, has_tokens: bool) -> Guard {
        let hosts = ["relay.test".to_owned(), "relay.test:99".to_owned(), "box:7".to_owned()];
        let origins = ["https://App.example/".to_owned()];
        let address = ([127, 0, 0, 1], 8080).into();
        Guard::new(&Known { address, is_tls, hosts: &hosts, origins: &origins }, has_tokens)
    }

    fn headers(host: &str, origin: Option<&str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(ORIGIN, origin.parse().unwrap());
        }
        headers
    }

    fn allowed(host: &str, origin: Option<&str>) -> bool {
        guard(false, false).check(&headers(host, origin)).is_ok()
    }

    #[test]
    fn programs_on_other_machines_need_tokens() {
        let [here, mapped, elsewhere] =
            ["127.0.0.1", "::ffff:127.0.0.1", "192.0.2.1"].map(|peer| peer.parse().unwrap());
        let program = headers("relay.test", None);
        let page = headers("relay.test", Some("https://app.example"));
        let other_page = headers("relay.test", Some("https://evil.test"));
        for has_tokens in [true, false] {
            let guard = guard(false, has_tokens);
            for peer in [here, mapped, elsewhere] {
                assert!(guard.check_acting(&page, peer).is_ok());
                assert!(guard.check_acting(&other_page, peer).is_err());
                let expected = has_tokens || peer != elsewhere;
                assert_eq!(guard.check_acting(&program, peer).is_ok(), expected, "{peer}");
            }
        }
    }

    #[test]
    fn a_local_name_is_rejected_from_other_machines() {
        let elsewhere = "192.0.2.1".parse().unwrap();
        for (host, expected) in
            [("127.0.0.1:8080", false), ("localhost:8080", false), ("box:7", true)]
        {
            let headers = headers(host, Some(&format!("http://{host}")));
            let acting = |has_tokens| guard(false, has_tokens).check_acting(&headers, elsewhere);
            assert_eq!(acting(false).is_ok(), expected, "{host}");
            assert!(acting(true).is_ok(), "{host}");
            let here = guard(false, false).check_acting(&headers, "::1".parse().unwrap());
            assert!(here.is_ok(), "{host}");
        }
        // As with a forwarded port of another machine.
        let hosts = ["localhost:8080".to_owned()];
        let address = ([0, 0, 0, 0], 8080).into();
        let known = Known { address, is_tls: false, hosts: &hosts, origins: &[] };
        let headers = headers("localhost:8080", Some("http://localhost:8080"));
        assert!(Guard::new(&known, false).check_acting(&headers, elsewhere).is_ok());
    }

    #[test]
    fn with_tls_own_origins_are_https() {
        let check = |origin| {
            let headers = headers("localhost:8080", Some(origin));
            guard(true, false).check(&headers).is_ok()
        };
        assert!(check("https://localhost:8080"));
        assert!(!check("http://localhost:8080"));
    }

    #[test]
    fn own_and_listed_names_are_allowed() {
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
    fn all_others_are_rejected() {
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
    fn a_repeated_host_is_rejected() {
        let guard = guard(false, false);
        let mut headers = HeaderMap::new();
        headers.append(HOST, "localhost:8080".parse().unwrap());
        headers.append(HOST, "evil.test".parse().unwrap());
        assert!(guard.check(&headers).is_err());
    }
}
