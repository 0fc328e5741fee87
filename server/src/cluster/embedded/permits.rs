//! Permits for instances, limited in total and per user, so that one user cannot take all of them.

use super::lock;
use crate::cluster::ClusterError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Permits for instances.
pub(super) struct InstancePermits {
    most: usize,
    per_user: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    all: usize,
    by_user: HashMap<String, usize>,
}

/// A permit for one instance, released on drop.
pub(super) struct InstancePermit {
    permits: Arc<InstancePermits>,
    user: String,
}

impl InstancePermits {
    pub(super) fn new(most: usize, per_user: usize) -> Arc<Self> {
        Arc::new(Self { most, per_user: per_user.min(most), taken: Mutex::default() })
    }

    /// Permits in use.
    pub(super) fn taken(&self) -> usize {
        lock(&self.taken).all
    }

    /// All permits.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Acquires a permit for this user. It never waits: a run that awaits a chained call holds a permit itself, so
    /// waiting could deadlock.
    ///
    /// # Errors
    /// The user's limit or the total limit is reached.
    pub(super) fn take(permits: &Arc<Self>, user: &str) -> Result<InstancePermit, ClusterError> {
        let mut taken = lock(&permits.taken);
        if taken.all >= permits.most {
            return Err(ClusterError::Full { instances: permits.most });
        }
        let theirs = taken.by_user.get(user).copied().unwrap_or_default();
        if theirs >= permits.per_user {
            return Err(ClusterError::UserFull { instances: permits.per_user });
        }
        taken.all += 1;
        taken.by_user.insert(user.to_owned(), theirs + 1);
        Ok(InstancePermit { permits: Arc::clone(permits), user: user.to_owned() })
    }
}

impl Drop for InstancePermit {
    fn drop(&mut self) {
        let mut taken = lock(&self.permits.taken);
        taken.all -= 1;
        if let Some(theirs) = taken.by_user.get_mut(&self.user) {
            *theirs -= 1;
            if *theirs == 0 {
                taken.by_user.remove(&self.user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_them_all() {
        let permits = InstancePermits::new(4, 3);
        let mut theirs: Vec<_> =
            (0..3).map(|_| InstancePermits::take(&permits, "eve").unwrap()).collect();
        let refused = InstancePermits::take(&permits, "eve").err();
        assert!(matches!(refused, Some(ClusterError::UserFull { instances: 3 })), "{refused:?}");
        let own = InstancePermits::take(&permits, "ada").unwrap();
        let refused = InstancePermits::take(&permits, "ada").err();
        assert!(matches!(refused, Some(ClusterError::Full { instances: 4 })), "{refused:?}");
        theirs.pop();
        drop(own);
        assert_eq!(permits.taken(), 2);
        drop(theirs);
        assert_eq!(permits.taken(), 0);
        assert!(lock(&permits.taken).by_user.is_empty());
    }
}
