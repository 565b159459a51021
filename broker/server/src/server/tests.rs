//! A whole server on a simulated disk, spoken to over sockets with the protocol's own words.

mod admin; // requests of tools
mod alike; // the broker of pipelines, here and over the wire
mod broker; // what producers, consumers and tools ask for
mod compat; // COMPAT.md against the code
mod damage; // messages that cannot be read
mod delivery; // delayed messages, and those whose consumption fails
mod filters; // filters in WebAssembly, attached to groups and topics
mod gate; // a disk whose work waits
mod golden; // our answers beside those of Apache RocketMQ
mod limits; // what peers may take, and what they are told
mod messages; // messages by where they lie
mod metrics; // figures over HTTP
mod names; // brokers and name servers of several processes
mod peer; // a client that writes and reads frames
mod reactor; // connections that behave, and some that do not
mod replies; // answers to request messages
mod transactions; // messages whose producer decides
mod waiting; // pulls that wait while what decides over them changes

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use millrace_disk::SimDisk;
use millrace_protocol::HeaderKind;
use millrace_store::FlushMode;
use millrace_types::Now;

use super::*;
use peer::Peer;

const KINDS: [HeaderKind; 2] = [HeaderKind::Json, HeaderKind::Binary];

fn config() -> ServerConfig {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    ServerConfig {
        namesrv_listen: Some(anywhere),
        broker_listen: Some(anywhere),
        segment_bytes: 1 << 20,
        ..ServerConfig::new("/data")
    }
}

fn start(config: ServerConfig) -> Server {
    Server::start(Arc::new(SimDisk::new(1)), config).unwrap()
}

fn start_default() -> Server {
    start(config())
}

/// A clock that a test moves.
#[derive(Clone, Debug, Default)]
struct Hands(Arc<AtomicU64>);

impl Hands {
    fn clock(&self) -> Clock {
        let mono_ms = Arc::clone(&self.0);
        Arc::new(move || {
            let mono_ms = mono_ms.load(Ordering::SeqCst);
            Now { mono_ms, wall_ms: 1_700_000_000_000 + mono_ms as i64 }
        })
    }

    fn pass(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Server {
    fn connect(&self, kind: HeaderKind) -> Peer {
        Peer::connect(self.addresses().broker.unwrap(), kind)
    }

    fn connect_namesrv(&self) -> Peer {
        Peer::connect(self.addresses().namesrv.unwrap(), HeaderKind::Json)
    }
}

/// Waits until something holds that another thread brings about.
#[track_caller]
fn becomes_true(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "{what} did not come about");
        std::thread::yield_now();
    }
}

/// Two ports that are free, the way others here have only one: one two below the other.
fn two_ports() -> (SocketAddr, u16) {
    (0..100)
        .find_map(|_| {
            let above = TcpListener::bind("127.0.0.1:0").unwrap();
            let port = above.local_addr().unwrap().port();
            let below = TcpListener::bind(("127.0.0.1", port - 2)).ok()?;
            Some((below.local_addr().unwrap(), port))
        })
        .expect("two ports")
}

#[test]
fn old_clients_find_the_broker_two_ports_below_its_own() {
    let (vip, port) = two_ports();
    let at = Some(([127, 0, 0, 1], port).into());
    let server = start(ServerConfig { broker_listen: at, ..config() });
    let mut peer = Peer::connect(vip, HeaderKind::Json);
    peer.send("orders", b"by the VIP port");
    assert_eq!(server.connect(HeaderKind::Json).all("orders"), ["by the VIP port"]);
    server.stop().unwrap();

    // One that is taken is nobody's loss.
    let _taken = TcpListener::bind(vip).unwrap();
    start(ServerConfig { broker_listen: at, ..config() });
}

#[test]
fn a_broker_two_ports_below_another_one_is_told_what_is_in_its_way_and_can_have_its_port() {
    let (below, port) = two_ports();
    let above = SocketAddr::new(below.ip(), port);
    let at = |address| ServerConfig { broker_listen: Some(address), ..config() };
    let first = start(at(above));
    let taken = Server::start(Arc::new(SimDisk::new(1)), at(below));
    let text = format!(
        "{below} is taken by another process, perhaps as the VIP port of a broker at {above}"
    );
    assert_eq!(taken.unwrap_err().to_string(), text);
    first.stop().unwrap();
    let first = start(ServerConfig { vip_port: false, ..at(above) });
    let second = start(at(below));
    for (server, body) in [(&first, "first"), (&second, "second")] {
        let mut peer = server.connect(HeaderKind::Json);
        peer.send("t", body.as_bytes());
        assert_eq!(peer.all("t"), [body]);
    }
}

#[test]
fn a_directory_is_served_once() {
    let disk = SimDisk::new(1);
    let first = Server::start(Arc::new(disk.clone()), config()).unwrap();
    let second = Server::start(Arc::new(disk.clone()), config());
    assert!(matches!(second, Err(StartError::InUse(dir)) if dir.as_os_str() == "/data"));
    first.stop().unwrap();
    Server::start(Arc::new(disk), config()).unwrap().stop().unwrap();
}

#[test]
fn a_port_is_listened_on_once() {
    let first = start_default();
    let taken = first.addresses().broker.unwrap();
    let second = Server::start(
        Arc::new(SimDisk::new(1)),
        ServerConfig { broker_listen: Some(taken), ..config() },
    );
    assert!(matches!(second, Err(StartError::PortTaken { address, .. }) if address == taken));
}

#[test]
fn a_full_disk_is_named_as_such() {
    let disk = SimDisk::new(1);
    disk.inject(millrace_disk::Fault::Capacity { bytes: 64 << 10 });
    let full = Server::start(Arc::new(disk), config());
    assert!(matches!(full, Err(StartError::DiskFull(_))), "{full:?}");
}

#[test]
fn a_store_of_another_program_is_refused() {
    let disk = SimDisk::new(1);
    Server::start(Arc::new(disk.clone()), config()).unwrap().stop().unwrap();
    disk.flip_bit("/data/format", 0, 1);
    let strange = Server::start(Arc::new(disk), config());
    assert!(matches!(strange, Err(StartError::Foreign(_))), "{strange:?}");
}

#[test]
fn who_listens_everywhere_has_to_say_where() {
    let everywhere = ServerConfig { broker_listen: Some(([0, 0, 0, 0], 0).into()), ..config() };
    let nowhere = Server::start(Arc::new(SimDisk::new(1)), everywhere.clone());
    assert!(matches!(nowhere, Err(StartError::NotAdvertised(_))), "{nowhere:?}");
    let advertised = Some([10, 0, 0, 7].into());
    let server = start(ServerConfig { advertised, ..everywhere });
    let Addresses { broker, advertised, .. } = server.addresses();
    assert_eq!(advertised, SocketAddr::from(([10, 0, 0, 7], broker.unwrap().port())));
}

#[test]
fn a_stopped_server_has_nothing_to_recover() {
    let disk = SimDisk::new(1);
    let sync = ServerConfig { flush: FlushMode::Sync, ..config() };
    let server = Server::start(Arc::new(disk.clone()), sync.clone()).unwrap();
    server.connect(HeaderKind::Json).send("t", b"a");
    server.stop().unwrap();
    let server = Server::start(Arc::new(disk), sync).unwrap();
    assert!(server.recovered().clean);
    assert_eq!(server.connect(HeaderKind::Json).all("t"), ["a"]);
}
