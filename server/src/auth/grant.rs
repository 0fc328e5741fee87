//! Grants of tokens, and reasons for denial.

use super::pattern::Pattern;
use super::right::{Operation, Right, Rights};
use super::{LEEWAY_SECONDS, now};
use thiserror::Error;

/// Why an operation is denied.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Denied {
    #[error("this relay requires a token, but the request has none")]
    Missing,
    #[error("the token is invalid: {0}")]
    Invalid(String),
    #[error("the token has expired: connect again with a fresh one")]
    Expired,
    #[error("the token is for user `{of}`, not for `{asked}`")]
    OtherUser { of: String, asked: String },
    #[error("the token does not have the right `{0}`")]
    Right(Right),
    #[error("the token is not for function `{0}`")]
    Function(String),
}

impl Denied {
    /// Whether a fresh token with the same rights would help.
    pub fn wants_a_token(&self) -> bool {
        match self {
            Denied::Missing | Denied::Invalid(_) | Denied::Expired => true,
            Denied::OtherUser { .. } | Denied::Right(_) | Denied::Function(_) => false,
        }
    }
}

/// What a token allows, or what is allowed on a relay without tokens.
///
/// Grants apply to requests from outside only. A running function acts with its user's full rights: it may chain other
/// functions of its user, also functions that the token does not name, and use the user's state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// `None` is any user, on a relay without tokens.
    pub(super) user: Option<String>,
    /// `None` is any function.
    pub(super) functions: Option<Vec<Pattern>>,
    pub(super) rights: Rights,
    /// Seconds since 1970.
    pub(super) expiry: Option<u64>,
}

impl Grant {
    /// Allows everything for every user: a relay without tokens.
    pub fn open() -> Self {
        Self { user: None, functions: None, rights: Rights::all(), expiry: None }
    }

    /// Allows nothing.
    pub(crate) fn nothing() -> Self {
        Self { user: None, functions: None, rights: Rights::default(), expiry: Some(0) }
    }

    /// The user; `None` on a relay without tokens, where it is any user.
    pub(crate) fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// When the token expires, seconds since 1970; requests are accepted for [`LEEWAY_SECONDS`] more.
    pub fn expiry(&self) -> Option<u64> {
        self.expiry
    }

    /// Checks that the grant is for this user.
    ///
    /// # Errors
    /// The grant is for another user.
    pub fn check_user(&self, asked: &str) -> Result<(), Denied> {
        match &self.user {
            Some(of) if of != asked => {
                Err(Denied::OtherUser { of: of.clone(), asked: asked.to_owned() })
            }
            _ => Ok(()),
        }
    }

    /// Checks that the grant allows this operation now. The caller has checked the user.
    ///
    /// # Errors
    /// The first reason for denial.
    pub fn check(&self, operation: Operation<'_>) -> Result<(), Denied> {
        let Some(right) = operation.right() else { return Ok(()) };
        if self.expiry.is_some_and(|expiry| now() > expiry.saturating_add(LEEWAY_SECONDS)) {
            return Err(Denied::Expired);
        }
        if !self.rights.has(right) {
            return Err(Denied::Right(right));
        }
        let Some(function) = operation.function() else { return Ok(()) };
        match &self.functions {
            Some(patterns) if !patterns.iter().any(|pattern| pattern.matches(function)) => {
                Err(Denied::Function(function.to_owned()))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_allows_nothing() {
        for operation in [Operation::UploadFile, Operation::FetchFile] {
            assert_eq!(Grant::nothing().check(operation), Err(Denied::Expired));
            assert_eq!(Grant::open().check(operation), Ok(()));
        }
    }

    #[test]
    fn it_holds_for_a_while_after_its_end() {
        let until = |expiry| Grant { expiry: Some(expiry), ..Grant::open() };
        let check = |expiry| until(expiry).check(Operation::FetchFile);
        assert_eq!(check(now() - LEEWAY_SECONDS + 5), Ok(()));
        assert_eq!(check(now() - LEEWAY_SECONDS - 1), Err(Denied::Expired));
        assert_eq!(check(u64::MAX), Ok(()));
    }
}
