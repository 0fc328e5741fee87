//! Who may do what: every right, every operation, every kind of stranger, by every way in.

use crate::support::*;
use crate::tokens::{Keys, claims, forge, hs256, now};
use faasm_bridge::session::ClientEvent;
use faasm_bridge::wire::{CallEntry, ChunkHeader, FailureCode, RefusalCode, Reply, Request};
use faasm_relay::auth::{Claims, LEEWAY_SECONDS, Right};
use serde_json::json;

/// Everything that takes a right.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Call,
    CallPointer,
    ReadState,
    WriteState,
    ReadWhole,
    ReadOn,
    Stage,
    WriteStaged,
    AppendState,
    ReadAppended,
    ClearAppended,
    ReadFile,
    Compare,
    LockState,
    UnlockState,
    Watch,
    Unwatch,
    UploadFunction,
    FetchFunction,
    UploadFile,
    FetchFile,
    FetchState,
    StateSize,
    StoreState,
    FetchMetrics,
}

use Operation::*;

const OPERATIONS: [Operation; 25] = [
    Call,
    CallPointer,
    ReadState,
    WriteState,
    ReadWhole,
    ReadOn,
    Stage,
    WriteStaged,
    AppendState,
    ReadAppended,
    ClearAppended,
    ReadFile,
    Compare,
    LockState,
    UnlockState,
    Watch,
    Unwatch,
    UploadFunction,
    FetchFunction,
    UploadFile,
    FetchFile,
    FetchState,
    StateSize,
    StoreState,
    FetchMetrics,
];

impl Operation {
    /// Written down once more, beside the relay's own table.
    fn right(self) -> Option<Right> {
        Some(match self {
            Call | CallPointer | Compare | FetchFunction => Right::Invoke,
            ReadState | ReadWhole | ReadOn | ReadAppended | ReadFile | Watch | Unwatch
            | FetchFile | FetchState | StateSize => Right::StateRead,
            WriteState | Stage | WriteStaged | AppendState | ClearAppended | LockState
            | StoreState => Right::StateWrite,
            // Whoever was given a lock.
            UnlockState => return None,
            UploadFunction | UploadFile => Right::Upload,
            FetchMetrics => Right::Metrics,
        })
    }

    /// As a session asks for it.
    fn request(self) -> Option<Request> {
        let key = String::from("k");
        Some(match self {
            Call => main("nobody"),
            CallPointer => enter("nobody", CallEntry::Pointer(1)),
            ReadState => Request::ReadState { key, offset: 0, length: None },
            WriteState => {
                let chunks = vec![ChunkHeader { offset: 0, length: 1 }];
                Request::WriteState { key, size: 1, chunks }
            }
            ReadWhole => Request::ReadWhole { key, offset: 0, length: None, read: 1 },
            ReadOn => Request::ReadOn { read: 1, offset: 0 },
            Stage => Request::Stage { write: 1, part: 0, chunks: vec![] },
            WriteStaged => {
                Request::WriteStaged { key, size: 1, write: 1, parts: 0, chunks: vec![] }
            }
            AppendState => Request::AppendState { key },
            ReadAppended => Request::ReadAppended { key, count: 1 },
            ClearAppended => Request::ClearAppended { key },
            ReadFile => Request::ReadFile { path: "a".into() },
            LockState => Request::LockState { key, run: 1 },
            UnlockState => Request::UnlockState { key, run: 1 },
            Compare => Request::Compare { function: "nobody".into(), integrities: vec![] },
            Watch => Request::Watch { key },
            Unwatch => Request::Unwatch { key },
            UploadFunction | FetchFunction | UploadFile | FetchFile | FetchState | StateSize
            | StoreState | FetchMetrics => return None,
        })
    }

    /// As HTTP has it, for this user.
    fn http(self, user: &str) -> Option<String> {
        match self {
            UploadFunction => Some(format!("PUT /f/{user}/f")),
            FetchFunction => Some(format!("GET /f/{user}/f")),
            UploadFile => Some("PUT /files/a".into()),
            FetchFile => Some("GET /files/a".into()),
            FetchState => Some(format!("GET /s/{user}/http")),
            StateSize => Some(format!("HEAD /s/{user}/http")),
            StoreState => Some(format!("PUT /s/{user}/http")),
            FetchMetrics => Some("GET /metrics".into()),
            _ => None,
        }
    }
}

/// All that a session can ask for, with payloads.
pub(crate) fn every_request() -> impl Iterator<Item = (Request, &'static [u8])> {
    OPERATIONS.into_iter().filter_map(|operation| {
        let payload: &[u8] = if let WriteState = operation { b"x" } else { b"" };
        Some((operation.request()?, payload))
    })
}

fn upload() -> Vec<u8> {
    wat::parse_str(r#"(module (memory 1) (func (export "_start")))"#).unwrap()
}

/// Status of a request with this `Authorization`.
async fn http(relay: &Relay, request: &str, authorization: Option<&str>) -> (u16, String) {
    let header = authorization.map(|text| format!("\nAuthorization: {text}")).unwrap_or_default();
    let (status, head, _) = relay.http(&format!("{request}{header}"), &upload()).await;
    (status, head)
}

fn is_allowed(reply: &Reply) -> bool {
    !matches!(reply, Reply::Failed { code: FailureCode::Unauthorised, .. })
}

#[tokio::test]
async fn each_right_allows_its_operations_and_no_others() {
    let keys = Keys::new();
    let relay = keys.relay().await;
    for right in Right::ALL {
        let token = keys.token(&Claims { rights: Some(vec![right]), ..claims(USER) });
        for kind in BOTH {
            let mut page = Client::of(USER, Some(token.clone()), kind);
            assert_eq!(page.connect(relay.address).await, ClientEvent::Open { lost: vec![] });
            for operation in OPERATIONS {
                let Some(request) = operation.request() else { continue };
                let expected = operation.right().is_none_or(|needed| needed == right);
                let payload: &[u8] = if let WriteState = operation { b"x" } else { b"" };
                let (reply, _) = page.ask(request, payload).await;
                assert_eq!(
                    is_allowed(&reply),
                    expected,
                    "{right} {operation:?} {kind:?}: {reply:?}"
                );
                if let (Reply::Failed { message, .. }, Some(needed)) = (reply, operation.right()) {
                    assert!(message.contains(needed.name()), "{message}");
                }
            }
        }
        for operation in OPERATIONS {
            let Some(request) = operation.http(USER) else { continue };
            let (status, _) = http(&relay, &request, Some(&format!("Bearer {token}"))).await;
            let expected = if operation.right() != Some(right) {
                vec![403]
            } else {
                // There may be no file yet.
                vec![200, 404]
            };
            assert!(expected.contains(&status), "{right} {operation:?}: {status}");
        }
    }
}

#[tokio::test]
async fn without_rights_named_a_token_allows_what_pages_need() {
    let keys = Keys::new();
    let relay = keys.relay().await;
    let token = keys.token(&claims(USER));
    let mut page = Client::of(USER, Some(token.clone()), Kind::WebSocket);
    page.connect(relay.address).await;
    for operation in OPERATIONS {
        let expected = !matches!(operation.right(), Some(Right::Upload | Right::Metrics));
        let allowed = match (operation.request(), operation.http(USER)) {
            (Some(request), _) => {
                let payload: &[u8] = if let WriteState = operation { b"x" } else { b"" };
                is_allowed(&page.ask(request, payload).await.0)
            }
            (None, Some(request)) => {
                http(&relay, &request, Some(&format!("Bearer {token}"))).await.0 != 403
            }
            (None, None) => panic!("{operation:?} has no way in"),
        };
        assert_eq!(allowed, expected, "{operation:?}");
    }
}

/// Strangers: what they show, and a word of why it is not good.
fn strangers(keys: &Keys) -> Vec<(&'static str, Option<String>, &'static str)> {
    let all = |user| Claims { rights: Some(Right::ALL.to_vec()), ..claims(user) };
    let plain = json!({ "sub": USER, "exp": now() + 3600, "rights": ["invoke", "upload"] });
    let token = keys.token(&all(USER));
    let (message, _) = token.rsplit_once('.').unwrap();
    let other_message = keys.token(&all("eve"));
    let signature = other_message.rsplit_once('.').unwrap().1;
    let header = |alg: &str| json!({ "alg": alg, "typ": "JWT" });
    vec![
        ("no token", None, "requires a token"),
        ("empty", Some(String::new()), "not a signed"),
        (
            "expired",
            Some(keys.token(&Claims { expiry: now() - LEEWAY_SECONDS - 2, ..all(USER) })),
            "expired",
        ),
        (
            "too early",
            Some(keys.token(&Claims { not_before: Some(now() + 600), ..all(USER) })),
            "nbf",
        ),
        ("another key", Some(Keys::new().token(&all(USER))), "signature"),
        ("the signature of another token", Some(format!("{message}.{signature}")), "signature"),
        ("no signature", Some(format!("{message}.")), "signature"),
        ("alg: none", Some(forge(&header("none"), &plain, |_| Vec::new())), "not a signed"),
        (
            "the public key as secret",
            Some(forge(&header("HS256"), &plain, hs256(&keys.public))),
            "signed by HS256",
        ),
        (
            "the public key as secret, and another name for the algorithm",
            Some(forge(&header("EdDSA"), &plain, hs256(&keys.public))),
            "signature",
        ),
        (
            "an algorithm of the same kind",
            Some(forge(&header("ES256"), &plain, |_| vec![1; 64])),
            "signed by ES256",
        ),
        (
            "a key of its own in the header",
            Some(forge(
                &json!({ "alg": "HS256", "jwk": { "kty": "oct", "k": "c2VjcmV0" } }),
                &plain,
                hs256(b"secret"),
            )),
            "signed by HS256",
        ),
    ]
}

#[tokio::test]
async fn no_stranger_gets_in_anywhere() {
    let keys = Keys::new();
    let relay = keys.relay().await;
    for (who, token, why) in strangers(&keys) {
        for kind in BOTH {
            let mut page = Client::of(USER, token.clone(), kind);
            let event = page.connect(relay.address).await;
            let ClientEvent::Refused { code: RefusalCode::Unauthorised, message } = event else {
                panic!("{who} {kind:?}: {event:?}");
            };
            assert!(message.contains(why), "{who}: {message}");
        }
        for operation in OPERATIONS {
            let Some(request) = operation.http(USER) else { continue };
            let authorization = token.as_ref().map(|token| format!("Bearer {token}"));
            let (status, head) = http(&relay, &request, authorization.as_deref()).await;
            assert_eq!(status, 401, "{who} {operation:?}");
            assert!(head.contains("www-authenticate: bearer"), "{head}");
        }
    }
    // Neither did anything.
    let stored = relay.stores.functions.integrity(USER, "f").await.unwrap();
    assert_eq!(stored, None);
    assert_eq!(relay.stores.files.read_file("a").await.unwrap(), None);
    assert_eq!(relay.stores.state.read(USER, "http", 0, None).await.unwrap().size, None);
}

#[tokio::test]
async fn users_are_kept_apart() {
    let keys = Keys::new();
    let relay = keys.relay().await;
    let all = |user| Claims { rights: Some(Right::ALL.to_vec()), ..claims(user) };
    let eve = keys.token(&all("eve"));
    for kind in BOTH {
        let mut page = Client::of(USER, Some(eve.clone()), kind);
        let event = page.connect(relay.address).await;
        let expected = RefusalCode::Unauthorised;
        assert!(
            matches!(&event, ClientEvent::Refused { code, message } if *code == expected && message.contains("for user `eve`")),
            "{event:?}"
        );
    }
    let bearer = format!("Bearer {eve}");
    assert_eq!(http(&relay, "PUT /f/ada/f", Some(&bearer)).await.0, 403);
    assert_eq!(http(&relay, "PUT /f/eve/f", Some(&bearer)).await.0, 200);
    assert_eq!(relay.stores.functions.integrity(USER, "f").await.unwrap(), None);
    for method in ["GET", "HEAD", "PUT"] {
        let of = |user| format!("{method} /s/{user}/http");
        assert_eq!(http(&relay, &of("ada"), Some(&bearer)).await.0, 403, "{method}");
        assert_ne!(http(&relay, &of("eve"), Some(&bearer)).await.0, 403, "{method}");
    }

    // Another user's session is not taken up, whoever knows its id.
    let mut ada = Client::of(USER, Some(keys.token(&all(USER))), Kind::WebSocket);
    ada.connect(relay.address).await;
    assert_eq!(ada.write("k", b"mine").await, Reply::Done);
    let mut page = Client::of("eve", Some(eve), Kind::WebSocket);
    page.connect(relay.address).await;
    assert_eq!(page.read("k").await, None);
}

#[tokio::test]
async fn a_token_for_some_functions_uploads_only_these() {
    let keys = Keys::new();
    let relay = keys.relay().await;
    let functions = Some(vec!["report-*".into()]);
    let token =
        keys.token(&Claims { functions, rights: Some(vec![Right::Upload]), ..claims(USER) });
    let bearer = format!("bearer  {token} ");
    assert_eq!(http(&relay, "PUT /f/ada/report-1", Some(&bearer)).await.0, 200);
    assert_eq!(http(&relay, "PUT /f/ada/other", Some(&bearer)).await.0, 403);
    for malformed in ["Basic YTpi", "Bearer", &format!("Token {token}"), &token] {
        assert_eq!(
            http(&relay, "PUT /f/ada/report-1", Some(malformed)).await.0,
            401,
            "{malformed}"
        );
    }
    let twice = format!("Bearer {token}\nAuthorization: Bearer {token}");
    assert_eq!(http(&relay, "PUT /f/ada/report-1", Some(&twice)).await.0, 401);
}

#[tokio::test]
async fn other_sites_may_send_tokens_only_where_they_are_allowed() {
    let keys = Keys::new();
    let config = faasm_relay::Config {
        tokens: Some(keys.authority()),
        allow_origins: vec!["https://app.example".into()],
        ..Default::default()
    };
    let relay = Relay::start_with(config, Default::default()).await;
    let ask = "OPTIONS /f/ada/f\nOrigin: https://app.example";
    let (status, head, _) = relay.http(ask, b"").await;
    assert_eq!(status, 204);
    assert!(head.contains("access-control-allow-headers: authorization, content-type"), "{head}");
    // A good token does not make another site's page one of ours.
    let token = keys.token(&Claims { rights: Some(vec![Right::Upload]), ..claims(USER) });
    let put = |origin| format!("PUT /f/ada/f\nOrigin: {origin}\nAuthorization: Bearer {token}");
    assert_eq!(relay.http(&put("https://app.example"), &upload()).await.0, 200);
    assert_eq!(relay.http(&put("https://evil.test"), &upload()).await.0, 403);
    // Nor does it get as far as showing one by a WebSocket.
    assert!(open(relay.address, &[("Origin", "https://app.example")]).await.is_ok());
    assert!(open(relay.address, &[("Origin", "https://evil.test")]).await.is_err());
}
