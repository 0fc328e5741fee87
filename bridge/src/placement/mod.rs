//! Where a chained call runs: in the cluster, or in the browser whose function chains it.
//!
//! * this file: the rules of a page or manifest, by function name;
//! * [`auto`]: the decision from measurements, for the rule `auto`.

pub mod auto;

use crate::sorted_map::SortedMap;
use serde::{Deserialize, Serialize};

/// Where a call runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    Cluster,
    Browser,
}

impl Place {
    /// The name in events.
    pub fn as_str(self) -> &'static str {
        match self {
            Place::Cluster => "cluster",
            Place::Browser => "browser",
        }
    }
}

/// A rule of a page or manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Where {
    Cluster,
    Browser,
    /// Whichever is faster; see [`auto`].
    Auto,
}

impl Where {
    /// Parses the name used in options and manifests.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "cluster" => Some(Where::Cluster),
            "browser" => Some(Where::Browser),
            "auto" => Some(Where::Auto),
            _ => None,
        }
    }
}

/// The name that stands for all functions without a rule.
pub const DEFAULT: &str = "default";

/// Where chained calls run, by the name of the called function, and [`DEFAULT`] for the others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policy(SortedMap<String, Where>);

impl Policy {
    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets the rule of a function; [`DEFAULT`] applies to functions without one. A later rule replaces an earlier one.
    pub fn insert(&mut self, function: String, place: Where) {
        self.0.insert(function, place);
    }

    /// The rule of a function; `None` if there is neither one for it nor a default.
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
    fn the_rule_of_a_function_overrides_the_default() {
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
