//! All routes: their paths and methods. A test compares them with `openapi.json`.

use super::fetch::{self, Action};
use hyper::Method;

/// The route of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Route<'a> {
    /// The WebSocket of a session.
    WebSocket,
    /// Calls as messages; the start page.
    Root,
    /// Sessions without WebSockets.
    Session(Action),
    /// Functions, by user and name: upload and version.
    Function(&'a str),
    /// State values, by user and key.
    State(&'a str),
    /// Files that functions of all users can read, by path.
    File(&'a str),
    /// Liveness.
    Health,
    /// Readiness.
    Ready,
    /// Metrics.
    Metrics,
    /// The OpenAPI document.
    OpenApi,
    /// A file of the folder of static files.
    Web,
}

impl<'a> Route<'a> {
    /// The route of a path.
    pub(super) fn of(path: &'a str) -> Self {
        match path {
            "/" => Route::Root,
            "/ws" => Route::WebSocket,
            "/healthz" => Route::Health,
            "/readyz" => Route::Ready,
            "/metrics" => Route::Metrics,
            "/openapi.json" => Route::OpenApi,
            _ => {
                let below = |folder| path.strip_prefix(folder);
                if let Some(action) = fetch::action(path) {
                    Route::Session(action)
                } else if let Some(name) = below("/f/") {
                    Route::Function(name)
                } else if let Some(name) = below("/s/") {
                    Route::State(name)
                } else if let Some(path) = below("/files/") {
                    Route::File(path)
                } else {
                    Route::Web
                }
            }
        }
    }

    /// Its methods, besides `OPTIONS` for preflights.
    pub(super) fn methods(self) -> &'static [Method] {
        match self {
            Route::Root => &[Method::GET, Method::HEAD, Method::POST],
            Route::Session(_) => &[Method::POST],
            Route::Function(_) => &[Method::GET, Method::PUT],
            Route::State(_) => &[Method::GET, Method::HEAD, Method::PUT],
            Route::File(_) => &[Method::GET, Method::HEAD, Method::PUT],
            Route::WebSocket => &[Method::GET],
            Route::Health | Route::Ready | Route::Metrics | Route::OpenApi | Route::Web => {
                &[Method::GET, Method::HEAD]
            }
        }
    }

    /// The methods that a preflight allows to pages of allowed sites; `None` for routes that need no preflight.
    pub(super) fn preflight(self) -> Option<&'static str> {
        match self {
            Route::Root | Route::Session(_) => Some("POST"),
            Route::Function(_) | Route::State(_) | Route::File(_) => Some("PUT"),
            Route::WebSocket
            | Route::Health
            | Route::Ready
            | Route::Metrics
            | Route::OpenApi
            | Route::Web => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::openapi::DOCUMENT;
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// The path of each route in the document.
    const TEMPLATES: &[&str] = &[
        "/",
        "/ws",
        "/session",
        "/session/send",
        "/session/receive",
        "/session/poll",
        "/session/end",
        "/f/{user}/{function}",
        "/s/{user}/{key}",
        "/files/{path}",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.json",
    ];

    /// A distinct number for each route; exhaustive, so that a new route does not compile until it is added here.
    fn number(route: Route<'_>) -> usize {
        match route {
            Route::Root => 0,
            Route::WebSocket => 1,
            Route::Session(Action::Begin) => 2,
            Route::Session(Action::Send) => 3,
            Route::Session(Action::Receive(crate::session::DownlinkMode::Stream)) => 4,
            Route::Session(Action::Receive(crate::session::DownlinkMode::Poll)) => 5,
            Route::Session(Action::End) => 6,
            Route::Function(_) => 7,
            Route::State(_) => 8,
            Route::File(_) => 9,
            Route::Health => 10,
            Route::Ready => 11,
            Route::Metrics => 12,
            Route::OpenApi => 13,
            Route::Web => usize::MAX,
        }
    }

    #[test]
    fn the_document_lists_exactly_the_routes() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let described = document["paths"].as_object().unwrap();
        let paths: BTreeSet<&str> = described.keys().map(String::as_str).collect();
        assert_eq!(paths, TEMPLATES.iter().copied().collect());
        for (expected, template) in TEMPLATES.iter().enumerate() {
            let route = Route::of(template);
            assert_eq!(number(route), expected, "{template}");
            let operations: BTreeSet<String> = described[*template]
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| !matches!(key.as_str(), "parameters" | "summary" | "description"))
                .map(|method| method.to_ascii_uppercase())
                .collect();
            let mut taken: BTreeSet<String> =
                route.methods().iter().map(|method| method.to_string()).collect();
            if route.preflight().is_some() {
                taken.insert("OPTIONS".to_owned());
            }
            assert_eq!(operations, taken, "{template}");
        }
    }
}
