//! Permits for instances, limited in total and per user, so that one user cannot take all of them.

use super::lock;
use crate::cluster::ClusterError;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Permits for instances.
pub(super) struct Places {
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
pub(super) struct Place {
    places: Arc<Places>,
    user: String,
}

impl Places {
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
    pub(super) fn take(places: &Arc<Self>, user: &str) -> Result<Place, ClusterError> {
        let mut taken = lock(&places.taken);
        if taken.all >= places.most {
            return Err(ClusterError::Full { instances: places.most });
        }
        let theirs = taken.by_user.get(user).copied().unwrap_or_default();
        if theirs >= places.per_user {
            return Err(ClusterError::UserFull { instances: places.per_user });
        }
        taken.all += 1;
        taken.by_user.insert(user.to_owned(), theirs + 1);
        Ok(Place { places: Arc::clone(places), user: user.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
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
        let places = Places::new(4, 3);
        let mut theirs: Vec<_> = (0..3).map(|_| Places::take(&places, "eve").unwrap()).collect();
        let refused = Places::take(&places, "eve").err();
        assert!(matches!(refused, Some(ClusterError::UserFull { instances: 3 })), "{refused:?}");
        let own = Places::take(&places, "ada").unwrap();
        let refused = Places::take(&places, "ada").err();
        assert!(matches!(refused, Some(ClusterError::Full { instances: 4 })), "{refused:?}");
        theirs.pop();
        drop(own);
        assert_eq!(places.taken(), 2);
        drop(theirs);
        assert_eq!(places.taken(), 0);
        assert!(lock(&places.taken).by_user.is_empty());
    }
}
