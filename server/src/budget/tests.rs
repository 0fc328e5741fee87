//! Charges against limits.

use super::*;

fn budget(relay: u64, user: u64) -> Budget {
    Budget::new(Bounds { relay, user })
}

#[test]
fn users_and_the_relay_have_bounds() {
    let budget = budget(100, 60);
    let ada = budget.user("ada");
    let first = ada.charge(Kind::State, 50).unwrap();
    let refused = budget.user("ada").charge(Kind::Body, 11).unwrap_err();
    assert_eq!(refused, OverBudget { bound: Bound::User, bytes: 11, used: 50, most: 60 });
    let eve = budget.user("eve").charge(Kind::Body, 50).unwrap();
    let refused = ada.charge(Kind::State, 1).unwrap_err();
    assert_eq!(refused, OverBudget { bound: Bound::Relay, bytes: 1, used: 100, most: 100 });
    assert_eq!(
        ada.used(),
        50,
        "a charge that the relay's limit rejects is not counted for the user"
    );
    assert_eq!(budget.nobody().charge(Kind::Answer, 1).unwrap_err().bound, Bound::Relay);
    assert_eq!((budget.refused(Bound::User), budget.refused(Bound::Relay)), (1, 2));
    assert_eq!((budget.used_for(Kind::State), budget.used_for(Kind::Body)), (50, 50));
    drop((first, eve));
    assert_eq!((budget.used(), ada.used()), (0, 0));
    drop(ada);
    assert!(lock(&budget.inner.users).is_empty(), "accounts without charges are removed");
}

#[test]
fn a_charge_grows_shrinks_and_moves() {
    let budget = budget(u64::MAX, 100);
    let mut charge = budget.user("ada").charge(Kind::Run, 10).unwrap();
    charge.set(30).unwrap();
    assert!(charge.set(101).is_err());
    assert_eq!(charge.bytes(), 30);
    charge.set(20).unwrap();
    charge.shrink(5);
    let charge = charge.moved(Kind::Result);
    assert_eq!((budget.used_for(Kind::Run), budget.used_for(Kind::Result)), (0, 15));
    let mut charge = charge.moved(Kind::Reply);
    charge.grown(1000);
    assert_eq!(budget.user("ada").used(), 1015);
    charge.set_anyway(7);
    assert_eq!(budget.used(), 7);
    drop(charge);
    assert_eq!((budget.used(), budget.used_for(Kind::Reply)), (0, 0));
}

#[test]
fn charges_of_one_account_become_one() {
    let budget = budget(u64::MAX, 100);
    let ada = budget.user("ada");
    let mut all = ada.charge(Kind::Transfer, 10).unwrap();
    all.absorb(ada.charge(Kind::Transfer, 20).unwrap());
    all.absorb(ada.charge(Kind::Reply, 30).unwrap());
    assert_eq!((all.bytes(), ada.used()), (60, 60));
    assert_eq!((budget.used_for(Kind::Transfer), budget.used_for(Kind::Reply)), (60, 0));
    drop(all);
    assert_eq!((ada.used(), budget.used(), budget.used_for(Kind::Transfer)), (0, 0, 0));
}

struct Spare(Mutex<Option<Charge>>, Mutex<Vec<Option<String>>>);

impl Frees for Spare {
    fn free(&self, user: Option<&str>) {
        lock(&self.1).push(user.map(str::to_owned));
        lock(&self.0).take();
    }
}

#[test]
fn whoever_can_free_memory_is_asked_before_a_charge_is_refused() {
    let budget = budget(100, 60);
    let kept = budget.user("ada").charge(Kind::State, 60).unwrap();
    let spare = Arc::new(Spare(Mutex::new(Some(kept)), Mutex::default()));
    budget.ask(Arc::downgrade(&(Arc::clone(&spare) as Arc<dyn Frees>)));
    let _new = budget.user("ada").charge(Kind::Body, 60).unwrap();
    assert!(budget.user("eve").charge(Kind::Body, 60).is_err());
    assert_eq!(*lock(&spare.1), [Some("ada".to_owned()), None]);
    assert_eq!(budget.refused(Bound::User), 0);
}
