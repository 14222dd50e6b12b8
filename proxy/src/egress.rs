//! Where backends may be: addresses are checked when they are connected to, after a name has been resolved, so that
//! no name and no redirection of one leads anywhere else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use prometheus::IntCounter;

/// What `url` backends and the `uri`s of documents may reach. Pods of Services are not asked.
#[derive(Debug)]
pub struct Egress {
    rules: Option<Rules>,
    refused: IntCounter,
}

#[derive(Debug)]
struct Rules {
    /// Refused, unless allowed: the cluster's own Services and pods.
    deny: Vec<Network>,
    allow: Vec<Network>,
    /// Programs on this machine may be asked: what a sidecar's neighbours are.
    loopback: bool,
}

/// A range of addresses: `10.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Why an address is not connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// This machine.
    Loopback,
    /// Metadata services, and whatever else is on the node's own link.
    LinkLocal,
    /// No address of one machine: unspecified, multicast, broadcast.
    NoHost,
    /// A range that the gateway's configuration refuses.
    Range(Network),
}

/// Text that is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a range of addresses: want 10.96.0.0/16, fd00::/8 or an address")]
pub struct NotANetwork(String);

/// Amazon's metadata service over IPv6, which is not link-local.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

impl Default for Egress {
    /// Everything may be reached.
    fn default() -> Self {
        Self { rules: None, refused: counter() }
    }
}

impl Egress {
    /// In a cluster: loopback, link-local addresses and `deny` are refused, unless `allow` contains them.
    pub fn guarded(deny: Vec<Network>, allow: Vec<Network>) -> Self {
        Self { rules: Some(Rules { deny, allow, loopback: false }), refused: counter() }
    }

    /// Beside a program: as in a cluster, but loopback may be reached.
    pub fn beside(deny: Vec<Network>, allow: Vec<Network>) -> Self {
        Self { rules: Some(Rules { deny, allow, loopback: true }), refused: counter() }
    }

    /// Counts what was refused, as `stagegate_egress_refused_total`.
    pub fn refused(&self) -> &IntCounter {
        &self.refused
    }

    /// # Errors
    /// When the address must not be connected to.
    pub fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        self.ask(|rules| rules.check(address.to_canonical()))
    }

    /// For what the name of a Service leads to. The cluster's own ranges are where Services are; but an ExternalName
    /// may name anything, and its author need not be trusted with this machine or the node's metadata.
    ///
    /// # Errors
    /// When the address must not be connected to.
    pub fn check_service(&self, address: IpAddr) -> Result<(), Forbidden> {
        self.ask(|rules| rules.check_machine(address.to_canonical()).map(|_allowed| ()))
    }

    fn ask(&self, check: impl Fn(&Rules) -> Result<(), Forbidden>) -> Result<(), Forbidden> {
        let Some(rules) = &self.rules else { return Ok(()) };
        check(rules).inspect_err(|_| self.refused.inc())
    }
}

impl Rules {
    fn check(&self, address: IpAddr) -> Result<(), Forbidden> {
        if self.check_machine(address)? {
            return Ok(());
        }
        match self.deny.iter().find(|network| network.contains(address)) {
            Some(network) => Err(Forbidden::Range(*network)),
            None => Ok(()),
        }
    }

    /// Whether the address is allowed by name; an error if it is this machine's, its link's or no machine's.
    fn check_machine(&self, address: IpAddr) -> Result<bool, Forbidden> {
        if self.allow.iter().any(|network| network.contains(address)) {
            return Ok(true);
        }
        if address.is_loopback() {
            return if self.loopback { Ok(true) } else { Err(Forbidden::Loopback) };
        }
        if address.is_unspecified() || address.is_multicast() || address == IpAddr::V4(Ipv4Addr::BROADCAST) {
            return Err(Forbidden::NoHost);
        }
        let link_local = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local() || address == METADATA,
        };
        if link_local { Err(Forbidden::LinkLocal) } else { Ok(false) }
    }
}

impl Network {
    /// Whether an address is in it. An IPv4 address written as an IPv6 one is an IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == address.to_bits() & mask
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let wrong = || NotANetwork(text.to_owned());
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::LinkLocal => f.write_str("link-local"),
            Self::NoHost => f.write_str("not the address of a host"),
            Self::Range(network) => write!(f, "in {network}, which this gateway refuses"),
        }
    }
}

fn counter() -> IntCounter {
    IntCounter::new("stagegate_egress_refused_total", "Connections that were not made because of where they led.")
        .expect("the name is one that Prometheus takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn ranges() {
        let network: Network = "10.96.0.0/12".parse().unwrap();
        for (address, inside) in [
            ("10.96.0.1", true),
            ("10.111.255.255", true),
            ("10.112.0.0", false),
            ("::ffff:10.100.0.1", true),
            ("fd00::1", false),
        ] {
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{address}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("1.2.3.4".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("fe80::1".parse().unwrap()));
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "a/8", "10.0.0.0/", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_cluster_refuses() {
        let egress =
            Egress::guarded(networks(&["10.96.0.0/16", "fd01::/16"]), networks(&["10.96.7.0/24", "127.0.0.9"]));
        for (address, refused) in [
            ("127.0.0.1", Some("loopback")),
            ("::1", Some("loopback")),
            ("::ffff:127.0.0.1", Some("loopback")),
            ("127.0.0.9", None),
            ("169.254.169.254", Some("link-local")),
            ("::ffff:169.254.169.254", Some("link-local")),
            ("fe80::1", Some("link-local")),
            ("fd00:ec2::254", Some("link-local")),
            ("0.0.0.0", Some("not the address of a host")),
            ("224.0.0.1", Some("not the address of a host")),
            ("10.96.3.4", Some("in 10.96.0.0/16, which this gateway refuses")),
            ("fd01::5", Some("in fd01::/16, which this gateway refuses")),
            ("10.96.7.4", None),
            ("203.0.113.9", None),
        ] {
            let found = egress.check(address.parse().unwrap()).err().map(|forbidden| forbidden.to_string());
            assert_eq!(found.as_deref(), refused, "{address}");
        }
        assert_eq!(egress.refused().get(), 11);
        // A Service's name leads into the cluster, and nowhere else that is refused.
        assert_eq!(egress.check_service("10.96.3.4".parse().unwrap()), Ok(()));
        assert_eq!(egress.check_service("169.254.169.254".parse().unwrap()), Err(Forbidden::LinkLocal));
        assert_eq!(egress.check_service("127.0.0.1".parse().unwrap()), Err(Forbidden::Loopback));
        assert_eq!(egress.check_service("127.0.0.9".parse().unwrap()), Ok(()));
    }

    #[test]
    fn a_sidecar_reaches_its_neighbours_and_dev_everything() {
        let loopback = "127.0.0.1".parse().unwrap();
        let metadata = "169.254.169.254".parse().unwrap();
        assert!(Egress::beside(Vec::new(), Vec::new()).check(loopback).is_ok());
        assert!(Egress::beside(Vec::new(), Vec::new()).check(metadata).is_err());
        assert!(Egress::default().check(metadata).is_ok());
    }
}
