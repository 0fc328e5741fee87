//! Users whose functions run unguarded in the cluster.

/// Wildcards for all users.
const EVERYBODY: &str = "*";

/// Trusted users, whose functions are not guarded.
///
/// Faasm's workers crash if a function passes certain host calls an invalid pointer, a buffer that is too small, or the
/// name of a missing function. So the relay uploads a *guarded* artefact that checks these calls, unless the operator
/// trusts the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(Vec<String>);

impl Trusted {
    /// Trusts these users; `*` is all users.
    pub fn new(users: Vec<String>) -> Self {
        Self(users)
    }

    pub fn has(&self, user: &str) -> bool {
        self.0.iter().any(|trusted| trusted == user || trusted == EVERYBODY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_trusted_by_default_and_a_star_is_everybody() {
        assert!(!Trusted::default().has("ada"));
        let some = Trusted::new(vec!["ada".into()]);
        assert!(some.has("ada") && !some.has("bob") && !some.has("*x"));
        assert!(Trusted::new(vec!["*".into()]).has("bob"));
    }
}
