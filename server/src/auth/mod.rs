//! Who may do what: tokens, what they grant, and the rights that operations need.
//!
//! * `right.rs`: the table from operations to rights.
//! * `grant.rs`: what one token allows.
//! * `key.rs`: keys out of files. The key says by which algorithm tokens are signed, a token never does.
//! * `authority.rs`: from a token to a grant.
//! * `provider.rs`: the signatures, by `ring`.
//! * `signer.rs`: makes tokens, for `faasm-relay token` and tests.

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

/// Seconds by which the clocks of those who make tokens and of this relay may differ.
pub const LEEWAY_SECONDS: u64 = 30;

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default().as_secs()
}
