//! Host names to addresses: DNS with its own time to live, kept per core. An answer that has just expired is used while
//! it is asked for again, an older one only if DNS fails, because an address that worked is better than none.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use hickory_resolver::config::{LookupIpStrategy, ResolveHosts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::{ResolverBuilder, TokioResolver};
use tokio::sync::Notify;

/// Names remembered; beyond it, all are forgotten, which only costs asking again.
const MAX_NAMES: usize = 4096;
/// Shortest time between two questions for one name, whatever its time to live.
const SHORTEST: Duration = Duration::from_secs(1);
/// Longest time an answer is believed, whatever its time to live.
const LONGEST: Duration = Duration::from_secs(300);
/// Time between two questions while DNS fails.
const RETRY: Duration = Duration::from_secs(5);
/// An answer that expired this long ago may be somebody else's address by now: it is asked for first.
const STALE: Duration = Duration::from_secs(30);
/// How long that may take.
const STALE_TIMEOUT: Duration = Duration::from_secs(2);

/// Names and their addresses.
#[derive(Default)]
pub struct Names {
    resolver: OnceCell<Result<TokioResolver, String>>,
    known: RefCell<HashMap<Box<str>, Rc<Name>>>,
}

struct Name {
    addresses: RefCell<Rc<[IpAddr]>>,
    valid_until: Cell<Instant>,
    refreshing: Cell<bool>,
    /// Told when it has been asked for again, whatever came of it.
    refreshed: Notify,
}

impl Names {
    /// The addresses of a host; never an empty list.
    ///
    /// # Errors
    /// A sentence about why there are none.
    pub async fn resolve(self: &Rc<Self>, host: &str) -> Result<Rc<[IpAddr]>, String> {
        if let Some(addresses) = without_dns(host) {
            return Ok(addresses);
        }
        let known = self.known.borrow().get(host).cloned();
        if let Some(name) = known {
            let expired = Instant::now().checked_duration_since(name.valid_until.get());
            if let Some(expired) = expired {
                if !name.refreshing.replace(true) {
                    tokio::task::spawn_local(Rc::clone(self).refresh(host.into(), Rc::clone(&name)));
                }
                if expired > STALE {
                    // Too late or in vain, the old addresses have to do.
                    drop(tokio::time::timeout(STALE_TIMEOUT, name.refreshed.notified()).await);
                }
            }
            return Ok(Rc::clone(&name.addresses.borrow()));
        }
        let (addresses, valid_until) = self.ask(host).await?;
        let name = Name {
            addresses: RefCell::new(Rc::clone(&addresses)),
            valid_until: Cell::new(valid_until),
            refreshing: Cell::new(false),
            refreshed: Notify::new(),
        };
        let mut known = self.known.borrow_mut();
        if known.len() >= MAX_NAMES {
            known.clear();
        }
        known.insert(host.into(), Rc::new(name));
        Ok(addresses)
    }

    async fn refresh(self: Rc<Self>, host: Box<str>, name: Rc<Name>) {
        match self.ask(&host).await {
            Ok((addresses, valid_until)) => {
                *name.addresses.borrow_mut() = addresses;
                name.valid_until.set(valid_until);
            }
            Err(error) => {
                tracing::warn!(%host, %error, "the name's last known addresses stay in use");
                name.valid_until.set(Instant::now() + RETRY);
            }
        }
        name.refreshing.set(false);
        name.refreshed.notify_waiters();
    }

    async fn ask(&self, host: &str) -> Result<(Rc<[IpAddr]>, Instant), String> {
        let resolver = self.resolver.get_or_init(build).as_ref().map_err(Clone::clone)?;
        let answer = resolver.lookup_ip(host).await.map_err(|error| error.to_string())?;
        let mut addresses: Vec<IpAddr> = answer.iter().collect();
        if addresses.is_empty() {
            return Err("the name has no addresses".into());
        }
        // IPv4 first: in a cluster it is the family that always works.
        addresses.sort_by_key(IpAddr::is_ipv6);
        let now = Instant::now();
        Ok((addresses.into(), answer.valid_until().clamp(now + SHORTEST, now + LONGEST)))
    }
}

/// Asks whom the system asks.
fn build() -> Result<TokioResolver, String> {
    finish(TokioResolver::builder_tokio().map_err(|error| error.to_string())?)
}

fn finish(mut builder: ResolverBuilder<TokioRuntimeProvider>) -> Result<TokioResolver, String> {
    let options = builder.options_mut();
    options.use_hosts_file = ResolveHosts::Always;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|error| error.to_string())
}

/// Addresses that are known without asking: literals, and this host (RFC 6761).
fn without_dns(host: &str) -> Option<Rc<[IpAddr]>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(Rc::new([address]));
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    let local = name == "localhost" || name.ends_with(".localhost");
    local.then(|| Rc::from([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]))
}

#[cfg(test)]
mod tests {
    use hickory_resolver::config::{NameServerConfig, ResolverConfig};
    use tokio::net::UdpSocket;

    use super::*;

    /// Answers every question for an address with `10.0.0.x`, good for a second.
    async fn serve(socket: UdpSocket, last: Rc<Cell<u8>>) {
        let mut question = [0; 512];
        loop {
            let (length, from) = socket.recv_from(&mut question).await.unwrap();
            let labels = question[12..length].iter().position(|&byte| byte == 0).unwrap();
            let end = 12 + labels + 5;
            let is_ipv4 = question[end - 4..end - 2] == [0, 1];
            let mut answer = question[..2].to_vec();
            answer.extend([0x81, 0x80, 0, 1, 0, u8::from(is_ipv4), 0, 0, 0, 0]);
            answer.extend(&question[12..end]);
            if is_ipv4 {
                answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 10, 0, 0, last.get()]);
            }
            socket.send_to(&answer, from).await.unwrap();
        }
    }

    #[test]
    fn a_name_is_asked_for_again_when_its_time_is_over() {
        let local = tokio::runtime::LocalOptions::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(local).unwrap();
        runtime.block_on(async {
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let mut server = NameServerConfig::udp(Ipv4Addr::LOCALHOST.into());
            server.connections[0].port = socket.local_addr().unwrap().port();
            let config = ResolverConfig::from_name_servers(vec![server]);
            let resolver = finish(TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()));
            let names = Rc::new(Names { resolver: OnceCell::from(resolver), known: RefCell::default() });
            let last = Rc::new(Cell::new(1));
            tokio::task::spawn_local(serve(socket, Rc::clone(&last)));
            let address = |last| IpAddr::from([10, 0, 0, last]);
            assert_eq!(*names.resolve("back.test").await.unwrap(), [address(1)]);
            last.set(2);
            let moved = async {
                while *names.resolve("back.test").await.unwrap() != [address(2)] {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(20), moved).await.expect("the new address is found");
        });
    }

    #[test]
    fn literals_and_this_host_need_no_dns() {
        assert_eq!(without_dns("10.1.2.3").unwrap().len(), 1);
        assert_eq!(without_dns("::1").unwrap().len(), 1);
        assert_eq!(without_dns("localhost").unwrap()[0], IpAddr::V4(Ipv4Addr::LOCALHOST));
        assert!(without_dns("a.localhost.").is_some());
        assert!(without_dns("notlocalhost").is_none());
    }
}
