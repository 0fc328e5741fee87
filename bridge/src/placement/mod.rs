//! Where a chained call runs: in the cluster, or in the browser whose function chains it.
//!
//! * this file: what a page or a manifest asks for, by the names of functions;
//! * [`auto`]: what measuring says, where it is left to that.

pub mod auto;

use crate::sorted_map::SortedMap;
use serde::{Deserialize, Serialize};

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Cluster,
    Browser,
}

impl Place {
    /// As events have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Place::Cluster => "cluster",
            Place::Browser => "browser",
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    Cluster,
    Browser,
    /// Whichever is faster; see [`auto`].
    Auto,
}

impl Where {
    /// Reads it as options and manifests have it.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "cluster" => Some(Where::Cluster),
            "browser" => Some(Where::Browser),
            "auto" => Some(Where::Auto),
            _ => None,
        }
    }
}

/// The name that stands for all functions that a policy does not name.
pub const DEFAULT: &str = "default";

/// Where chained calls run, by the names of the functions that are called, and [`DEFAULT`] for the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policy(SortedMap<String, Where>);

impl Policy {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Has calls of a function run there; [`DEFAULT`] is all that have no rule of their own. The last rule counts.
    pub fn insert(&mut self, function: String, place: Where) {
        self.0.insert(function, place);
    }

    /// What it says of a function; none where it leaves that to others.
    pub fn of(&self, function: &str) -> Option<Where> {
        self.0.get(function).or_else(|| self.0.get(DEFAULT)).copied()
    }
}

impl FromIterator<(String, Where)> for Policy {
    fn from_iter<I: IntoIterator<Item = (String, Where)>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_its_own_goes_before_the_default() {
        let rule = |name: &str, place| (name.to_owned(), place);
        let rules = [rule(DEFAULT, Where::Auto), rule("square", Where::Browser)];
        let policy: Policy = rules.into_iter().collect();
        assert_eq!(policy.of("square"), Some(Where::Browser));
        assert_eq!(policy.of("cube"), Some(Where::Auto));
        let mut only = Policy::default();
        only.insert("square".to_owned(), Where::Auto);
        only.insert("square".to_owned(), Where::Browser);
        assert_eq!((only.of("square"), only.of("cube")), (Some(Where::Browser), None));
        assert!(Policy::default().is_empty() && !only.is_empty());
    }
}
