//! What the kernel has not delivered to clients yet: bytes that a client has not taken when its connection is closed.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients of closed connections that have not taken everything yet. Looked up while draining only.
#[derive(Debug, Default)]
pub struct Undelivered(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    clients: HashSet<(IpAddr, u16)>,
    /// When the kernel may be asked again: its list is long where there are many connections.
    next: Option<Instant>,
}

/// The kernel's lists of this process's network. Where there are none, nothing is known to be undelivered.
const TABLES: [&str; 2] = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
/// Shortest time between two looks.
const PAUSE: Duration = Duration::from_millis(200);
/// So few bytes are no answer's end, but our goodbye to a client that has vanished: TLS's alert and TCP's FIN.
const GOODBYE: u64 = 64;

impl Undelivered {
    /// Asks the kernel about connections from this port that we have closed, if it was not asked a moment ago. True if
    /// there is something undelivered.
    pub fn look(&self, port: u16) -> bool {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if seen.next.is_none_or(|next| next <= now) {
            let tables = TABLES.map(|table| std::fs::read_to_string(table).unwrap_or_default());
            seen.clients = tables.iter().flat_map(|table| clients(table, port)).collect();
            seen.next = Some(Instant::now() + PAUSE.max(now.elapsed() * 10));
        }
        !seen.clients.is_empty()
    }

    /// Whether something is undelivered to this client.
    pub fn is_to(&self, client: SocketAddr) -> bool {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.clients.contains(&(client.ip(), client.port()))
    }
}

/// The clients of connections from this port that we have closed and that have bytes to be taken.
fn clients(table: &str, port: u16) -> impl Iterator<Item = (IpAddr, u16)> {
    table.lines().skip(1).filter_map(move |line| {
        // sl local_address rem_address st tx_queue:rx_queue …
        let mut fields = line.split_ascii_whitespace().skip(1);
        let (local, client) = (address(fields.next()?)?, address(fields.next()?)?);
        let closed = matches!(fields.next()?, "04" | "09" | "0B");
        let (unsent, _) = fields.next()?.split_once(':')?;
        (local.1 == port && closed && u64::from_str_radix(unsent, 16).ok()? > GOODBYE).then_some(client)
    })
}

/// `0100007F:1F90`: words in the machine's order of bytes, and the port.
fn address(text: &str) -> Option<(IpAddr, u16)> {
    let (words, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| u32::from_str_radix(words.get(at * 8..at * 8 + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip = match words.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (at, room) in bytes.chunks_exact_mut(4).enumerate() {
                room.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_as_the_kernel_writes_them() {
        assert_eq!(address("0100007F:1F90"), Some(("127.0.0.1".parse().expect("an address"), 8080)));
        let six = "B80D0120000000000000000001000000:0050";
        assert_eq!(address(six), Some(("2001:db8::1".parse().expect("an address"), 80)));
        assert_eq!(address("B80D01200000:0050"), None);
        let mapped = "0000000000000000FFFF00000100007F:1F90";
        assert_eq!(address(mapped), Some(("::ffff:127.0.0.1".parse().expect("an address"), 8080)));
    }

    #[test]
    fn what_a_client_has_not_taken_is_seen_until_it_is_taken() {
        for any in ["127.0.0.1:0", "[::]:0"] {
            let listener = TcpListener::bind(any).expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let mut client = TcpStream::connect(("127.0.0.1", port)).expect("accepted");
            let (mut stream, peer) = listener.accept().expect("accepted");
            stream.set_nonblocking(true).expect("a live socket");
            let mut written = 0;
            while let Ok(more) = stream.write(&[7; 64 << 10]) {
                written += more;
            }
            let look = || {
                let undelivered = Undelivered::default();
                (undelivered.look(port), undelivered.is_to(peer))
            };
            assert_eq!(look(), (false, false), "{any}: an open connection is its owner's business");
            drop(stream);
            assert_eq!(look(), (true, true), "{any}");
            let read = std::io::copy(&mut client, &mut std::io::sink()).expect("everything");
            assert_eq!(read, written as u64);
            // The last acknowledgement may be a moment behind.
            let deadline = Instant::now() + Duration::from_secs(5);
            while look() != (false, false) {
                assert!(Instant::now() < deadline, "{any}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}
