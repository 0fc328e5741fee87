//! Every route: its path, and which methods it takes. `openapi.json` describes the same; a test compares the two.

use super::fetch::{self, Action};
use hyper::Method;

/// Where a request goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Route<'a> {
    /// A connection of a session.
    WebSocket,
    /// Calls as messages; the start page.
    Root,
    /// Sessions without WebSockets.
    Session(Action),
    /// Functions, by user and name: storing one, and which one is there.
    Function(&'a str),
    /// State values, by user and key.
    State(&'a str),
    /// Files that functions of all users can read, by path.
    File(&'a str),
    /// Whether the relay is there.
    Health,
    /// Whether it can do something.
    Ready,
    /// What it does, in numbers.
    Metrics,
    /// What can be asked for.
    OpenApi,
    /// Whatever the folder of static files has.
    Web,
}

impl<'a> Route<'a> {
    /// Where a path leads.
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

    /// What it takes, besides `OPTIONS` where a page of another site may ask.
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

    /// What a browser is told that pages of allowed sites may send besides what they may anyway; `None` where it has nothing
    /// to ask for.
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

    /// A path of each route, as the document has it.
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

    /// One number for each route; a route that is not here does not compile.
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
    fn the_document_has_each_route_and_nothing_else() {
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
