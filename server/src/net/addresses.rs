//! How many connections each address has, so that one peer cannot take all there are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bits of an IPv6 address that one customer of a network chooses freely.
const HOST_BITS: u32 = 64;

/// Counts connections.
#[derive(Debug)]
pub(super) struct Addresses {
    /// Those that have a connection.
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

    /// A place for a connection from this address, if it may have another one.
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

/// What counts as one address.
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
        assert_eq!(addresses.lock().len(), 2, "only those that are here are remembered");
    }
}
