use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use millrace_engine::{Caller, Principal};
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use tracing::{debug, warn};

use super::connection::Connection;
use super::slots::Slots;
use crate::dispatch::Role;
use crate::shell::Shell;

/// Where peers come in.
pub(crate) struct Listener {
    socket: TcpListener,
    role: Role,
}

/// Who of those that waited was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    /// All of them, or as many as are allowed.
    Everybody,
    /// Some still wait: the system gives nothing more for now.
    NoRoom,
}

impl Listener {
    /// Listens; port 0 takes any free one.
    pub(crate) fn bind(address: SocketAddr, role: Role) -> io::Result<Self> {
        Ok(Self { socket: TcpListener::bind(address)?, role })
    }

    /// Where it listens, with the port that it got.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    /// Takes in everybody who waits, up to as many connections as are allowed in all.
    pub(super) fn accept(
        &self,
        connections: &mut Slots,
        registry: &Registry,
        shell: &mut Shell,
        now_ms: u64,
    ) -> Accepted {
        loop {
            let (stream, peer) = match self.socket.accept() {
                Ok(accepted) => accepted,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Accepted::Everybody,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => continue,
                    _ => {
                        // Out of file descriptors, most likely. Who waits is not announced again.
                        if shell.complaints.may_say(now_ms) {
                            warn!(error = %error, "no connection accepted for now");
                        }
                        return Accepted::NoRoom;
                    }
                },
            };
            if connections.len() >= shell.limits.connections_max {
                if shell.complaints.may_say(now_ms) {
                    warn!(%peer, "connection closed: there are too many");
                }
                continue;
            }
            if let Err(error) = self.take_in(stream, peer, connections, registry, now_ms) {
                debug!(%peer, error = %error, "connection not taken in");
            }
        }
    }

    fn take_in(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        connections: &mut Slots,
        registry: &Registry,
        now_ms: u64,
    ) -> io::Result<()> {
        stream.set_nodelay(true)?;
        connections.add(|connection, token| {
            registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            let caller = Caller { connection, peer, principal: Principal::Anonymous };
            Ok::<_, io::Error>(Connection::new(stream, caller, self.role, now_ms))
        })?;
        Ok(())
    }
}
