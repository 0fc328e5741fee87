//! Limits connections and handshakes per address, so that one peer cannot exhaust them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The bits of an IPv6 address that a single subscriber controls.
const HOST_BITS: u32 = 64;

/// Time that refills an address's burst of handshakes.
const SECOND: Duration = Duration::from_secs(1);

/// Number of addresses above which idle ones are removed.
const FEW_ADDRESSES: usize = 1024;

/// Counts connections per address.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Addresses with connections.
    seats: Mutex<HashMap<IpAddr, usize>>,
    most: usize,
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    addresses: Arc<Addresses>,
    network: IpAddr,
}

impl Addresses {
    pub(super) fn new(most: usize) -> Self {
        Self { seats: Mutex::default(), most }
    }

    /// Admits a connection from this address; `None` if its limit is reached.
    pub(super) fn take(self: &Arc<Self>, address: IpAddr) -> Option<Seat> {
        let network = network(address);
        let mut seats = self.lock();
        let taken = seats.entry(network).or_default();
        if *taken >= self.most {
            return None;
        }
        *taken += 1;
        Some(Seat { addresses: Arc::clone(self), network })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.addresses.lock();
        if let Some(taken) = seats.get_mut(&self.network) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.network);
            }
        }
    }
}

/// Rate limiter of handshakes per address, with a burst.
#[derive(Debug)]
pub(crate) struct Handshakes {
    recent: Mutex<Recent>,
    per_second: u32,
}

#[derive(Debug)]
struct Recent {
    /// When each address's burst is fully refilled.
    used: HashMap<IpAddr, Instant>,
    /// Number of entries above which fully refilled ones are removed.
    many: usize,
}

impl Handshakes {
    /// Unlimited if `per_second` is 0.
    pub(crate) fn new(per_second: usize) -> Self {
        let per_second = u32::try_from(per_second).unwrap_or(u32::MAX);
        let recent = Recent { used: HashMap::new(), many: FEW_ADDRESSES };
        Self { recent: Mutex::new(recent), per_second }
    }

    /// Admits a handshake of this address.
    ///
    /// # Errors
    /// The rate is exceeded; the error is the time to wait. The rejected handshake does not count.
    pub(crate) fn count(&self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(each) = SECOND.checked_div(self.per_second) else { return Ok(()) };
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.used.len() >= recent.many {
            recent.used.retain(|_, until| *until > now);
            recent.many = FEW_ADDRESSES.max(2 * recent.used.len());
        }
        let used = recent.used.entry(network(address)).or_insert(now);
        let until = (*used).max(now) + each;
        let wait = until.saturating_duration_since(now + SECOND);
        if wait.is_zero() {
            *used = until;
            return Ok(());
        }
        Err(wait)
    }
}

/// The unit of the limits: an IPv4 address or an IPv6 network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() >> HOST_BITS << HOST_BITS).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_makes_so_many_handshakes_in_a_second() {
        let handshakes = Handshakes::new(4);
        let start = Instant::now();
        let count = |text: &str, after| {
            handshakes.count(text.parse().unwrap(), start + Duration::from_millis(after))
        };
        for _ in 0..4 {
            assert_eq!(count("192.0.2.1", 0), Ok(()));
        }
        assert_eq!(count("::ffff:192.0.2.1", 0), Err(Duration::from_millis(250)));
        assert_eq!(count("192.0.2.2", 0), Ok(()), "another address");
        assert_eq!(count("192.0.2.1", 100), Err(Duration::from_millis(150)));
        assert_eq!(count("192.0.2.1", 250), Ok(()));
        assert_eq!(count("192.0.2.1", 250), Err(Duration::from_millis(250)));
        for _ in 0..4 {
            assert_eq!(count("192.0.2.1", 5000), Ok(()), "after a pause");
        }
        assert!(count("192.0.2.1", 5000).is_err());
        let any = Handshakes::new(0);
        assert!((0..1000).all(|_| any.count([192, 0, 2, 1].into(), start) == Ok(())));
    }

    #[test]
    fn addresses_that_were_here_long_ago_are_forgotten() {
        let handshakes = Handshakes::new(1);
        let start = Instant::now();
        for number in 0..100 * FEW_ADDRESSES as u32 {
            let now = start + Duration::from_millis(number.into());
            assert_eq!(handshakes.count(std::net::Ipv4Addr::from(number).into(), now), Ok(()));
        }
        let remembered = handshakes.recent.lock().unwrap().used.len();
        assert!(remembered <= 2 * FEW_ADDRESSES, "{remembered}");
    }

    #[test]
    fn an_address_has_so_many_and_gets_them_back() {
        let addresses = Arc::new(Addresses::new(2));
        let take = |text: &str| addresses.take(text.parse().unwrap());
        let (first, _second) = (take("192.0.2.1").unwrap(), take("::ffff:192.0.2.1").unwrap());
        assert!(take("192.0.2.1").is_none());
        let _other = take("192.0.2.2").unwrap();
        drop(first);
        assert!(take("192.0.2.1").is_some());

        let near = [take("2001:db8::1").unwrap(), take("2001:db8::ffff:0:0:2").unwrap()];
        assert!(take("2001:db8::3").is_none(), "one network");
        assert!(take("2001:db8:0:1::1").is_some(), "another one");
        drop(near);
        assert!(take("2001:db8::3").is_some());
        assert_eq!(addresses.lock().len(), 2, "only current addresses are kept");
    }
}
