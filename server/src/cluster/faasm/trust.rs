//! Whose functions run in the cluster as they were uploaded.

/// Names that stand for every user.
const EVERYBODY: &str = "*";

/// Users whose functions are not guarded.
///
/// Faasm's workers end where a function gives some host calls a bad pointer, a buffer that is too small, or the name of a
/// function that is not there; so the relay has those calls checked in a *guarded* artefact, unless the operator trusts the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(Vec<String>);

impl Trusted {
    /// These users; `*` is everybody.
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
