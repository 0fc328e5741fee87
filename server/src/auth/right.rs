//! Rights, and the right that each operation needs.

use faasm_bridge::wire::Request;
use std::fmt;

/// A right that a token can grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To call functions.
    Invoke,
    /// To read state values, lists and shared files.
    StateRead,
    /// To write state values and lists.
    StateWrite,
    /// To store functions and shared files.
    Upload,
    /// To read the relay's metrics, which are about all users.
    Metrics,
}

impl Right {
    pub const ALL: [Right; 5] =
        [Right::Invoke, Right::StateRead, Right::StateWrite, Right::Upload, Right::Metrics];

    /// Name in tokens.
    pub fn name(self) -> &'static str {
        match self {
            Right::Invoke => "invoke",
            Right::StateRead => "state:read",
            Right::StateWrite => "state:write",
            Right::Upload => "upload",
            Right::Metrics => "metrics",
        }
    }

    /// The right with this name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.name() == name)
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Right {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of rights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(u8);

impl Rights {
    /// Rights of a token without a list of rights: all that a page needs. Uploads and metrics must be listed
    /// explicitly.
    pub fn of_a_page() -> Self {
        [Right::Invoke, Right::StateRead, Right::StateWrite].into_iter().collect()
    }

    pub fn all() -> Self {
        Right::ALL.into_iter().collect()
    }

    pub fn has(self, right: Right) -> bool {
        self.0 & right.bit() != 0
    }
}

impl FromIterator<Right> for Rights {
    fn from_iter<I: IntoIterator<Item = Right>>(rights: I) -> Self {
        Self(rights.into_iter().fold(0, |bits, right| bits | right.bit()))
    }
}

/// All operations that need a right, over all interfaces.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// A request of a session.
    Request(&'a Request),
    /// `PUT /f/USER/FUNCTION`, of this function.
    UploadFunction(&'a str),
    /// `GET /f/USER/FUNCTION`, of this function.
    FetchFunction(&'a str),
    /// `PUT /files/PATH`.
    UploadFile,
    /// `GET /files/PATH`.
    FetchFile,
    /// `GET /s/USER/KEY`.
    FetchState,
    /// `PUT /s/USER/KEY`.
    StoreState,
    /// `GET /metrics`.
    FetchMetrics,
}

impl<'a> Operation<'a> {
    /// The right of each operation; the exhaustive match covers every operation. `None` needs no right and no valid
    /// token: a session can release only its own locks.
    pub fn right(self) -> Option<Right> {
        Some(match self {
            Operation::Request(request) => match request {
                Request::Call { .. } | Request::Compare { .. } => Right::Invoke,
                Request::ReadState { .. }
                | Request::ReadWhole { .. }
                | Request::ReadOn { .. }
                | Request::ReadAppended { .. }
                | Request::ReadFile { .. }
                | Request::Watch { .. }
                | Request::Unwatch { .. } => Right::StateRead,
                Request::WriteState { .. }
                | Request::Stage { .. }
                | Request::WriteStaged { .. }
                | Request::AppendState { .. }
                | Request::ClearAppended { .. }
                | Request::LockState { .. } => Right::StateWrite,
                Request::UnlockState { .. } => return None,
            },
            Operation::FetchFunction(_) => Right::Invoke,
            Operation::FetchFile | Operation::FetchState => Right::StateRead,
            Operation::StoreState => Right::StateWrite,
            Operation::FetchMetrics => Right::Metrics,
            Operation::UploadFunction(_) | Operation::UploadFile => Right::Upload,
        })
    }

    /// The function that the operation concerns, which the token has to allow.
    pub fn function(self) -> Option<&'a str> {
        match self {
            Operation::Request(
                Request::Call { function, .. } | Request::Compare { function, .. },
            ) => Some(function),
            Operation::UploadFunction(function) | Operation::FetchFunction(function) => {
                Some(function)
            }
            Operation::Request(_)
            | Operation::UploadFile
            | Operation::FetchFile
            | Operation::FetchState
            | Operation::StoreState
            | Operation::FetchMetrics => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_put_into_it() {
        for right in Right::ALL {
            let only: Rights = [right].into_iter().collect();
            for other in Right::ALL {
                assert_eq!(only.has(other), other == right, "{other} in {right}");
            }
            assert_eq!(Right::of_name(right.name()), Some(right));
            assert!(Rights::all().has(right));
            let is_for_pages = !matches!(right, Right::Upload | Right::Metrics);
            assert_eq!(Rights::of_a_page().has(right), is_for_pages);
        }
        assert_eq!(Right::of_name("admin"), None);
    }
}
