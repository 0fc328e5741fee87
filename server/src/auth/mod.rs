//! Authorization: tokens, their grants, and the rights that operations need.
//!
//! * `right.rs`: the right of each operation.
//! * `grant.rs`: the grant of a token.
//! * `key.rs`: reads keys from files. The key determines the algorithm; the token's `alg` never does.
//! * `authority.rs`: verifies tokens.
//! * `provider.rs`: signatures with `ring`.
//! * `signer.rs`: signs tokens, for `faasm-relay token` and tests.

mod authority;
mod grant;
mod key;
mod pattern;
mod provider;
mod right;
mod signer;

pub use authority::{Authority, TokenSettings};
pub use grant::{Denied, Grant};
pub use key::{KeyError, KeyFile};
pub use right::{Operation, Right, Rights};
pub use signer::{Claims, Signer};

/// Allowed clock difference between issuers of tokens and this relay, seconds.
pub const LEEWAY_SECONDS: u64 = 30;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
