use millrace_engine::{ConnectionId, Ticket};
use millrace_protocol::HeaderKind;
use millrace_types::QueueOffset;

use crate::traffic::GivenTo;

/// Requests of the wire that the engine has not answered yet, by ticket.
#[derive(Debug, Default)]
pub(crate) struct WaitingList {
    places: Vec<Place>,
    free: Vec<u32>,
    earliest_ms: Option<u64>,
}

#[derive(Debug)]
struct Place {
    /// Part of the ticket, so that an old one does not fit.
    generation: u32,
    waiting: Option<Waiting>,
}

/// One request that waits.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) to: ReplyTo,
    pub(crate) awaited: Awaited,
    /// When the engine has to be told that time has passed.
    pub(crate) until_ms: Option<u64>,
    /// It is a pull that waits for a message.
    pub(crate) is_held: bool,
    /// It has changed topics: name servers are to know this version of them before it is answered.
    pub(crate) topics: Option<u64>,
}

/// Where an answer goes, and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReplyTo {
    pub(crate) connection: ConnectionId,
    pub(crate) opaque: i32,
    pub(crate) kind: HeaderKind,
}

/// What kind of answer a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Awaited {
    /// That of one message.
    Send(UniqueKey),
    /// That of a producer's batch.
    Batch,
    /// That of our own group append.
    Group,
    /// Records for a RocketMQ client, and who is given them.
    Records(GivenTo),
    /// Records as stored, for our own client; the queue had this end when it asked.
    Stored(QueueOffset),
    /// How many queues a topic has.
    TopicQueues,
    /// That something is done.
    Done,
}

/// Stands for nobody: what the engine answers to it is dropped.
pub(crate) const NOBODY: Ticket = Ticket(0);

impl WaitingList {
    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(crate) fn add(&mut self, waiting: Waiting) -> Ticket {
        if let Some(until) = waiting.until_ms {
            self.earliest_ms = Some(self.earliest_ms.map_or(until, |known| known.min(until)));
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, waiting: None });
            u32::try_from(self.places.len() - 1).expect("connections are bounded")
        });
        let place = &mut self.places[index as usize];
        // Never 0, so that no ticket is NOBODY, and below the bit of local tickets.
        place.generation = place.generation % 0x7fff_ffff + 1;
        place.waiting = Some(waiting);
        Ticket(u64::from(place.generation) << 32 | u64::from(index))
    }

    pub(crate) fn take(&mut self, ticket: Ticket) -> Option<Waiting> {
        let index = ticket.0 as u32;
        let place = self.places.get_mut(index as usize)?;
        if u64::from(place.generation) != ticket.0 >> 32 {
            return None;
        }
        let waiting = place.waiting.take()?;
        self.free.push(index);
        Some(waiting)
    }

    /// The engine holds this pull.
    pub(crate) fn note_held(&mut self, ticket: Ticket) {
        self.note(ticket, |waiting| waiting.is_held = true);
    }

    /// This request has changed topics, which have this version now.
    pub(crate) fn note_topics(&mut self, ticket: Ticket, version: u64) {
        self.note(ticket, |waiting| waiting.topics = Some(version));
    }

    fn note(&mut self, ticket: Ticket, note: impl FnOnce(&mut Waiting)) {
        let place = self.places.get_mut(ticket.0 as u32 as usize);
        let place = place.filter(|place| u64::from(place.generation) == ticket.0 >> 32);
        if let Some(waiting) = place.and_then(|place| place.waiting.as_mut()) {
            note(waiting);
        }
    }

    /// Drops the requests of a connection that is gone.
    pub(crate) fn forget(&mut self, connection: ConnectionId) {
        for (index, place) in self.places.iter_mut().enumerate() {
            if place.waiting.as_ref().is_some_and(|known| known.to.connection == connection) {
                place.waiting = None;
                self.free.push(index as u32);
            }
        }
    }

    /// Before this moment no request needs the engine to know the time.
    pub(crate) fn earliest_ms(&self) -> Option<u64> {
        self.earliest_ms
    }

    /// The engine has been told; looks for the next moment.
    pub(crate) fn find_earliest(&mut self) {
        let waiting = self.places.iter().filter_map(|place| place.waiting.as_ref());
        self.earliest_ms = waiting.filter_map(|waiting| waiting.until_ms).min();
    }

    /// Whether any request waits for something to be stored.
    pub(crate) fn any_append(&self) -> bool {
        let waiting = self.places.iter().filter_map(|place| place.waiting.as_ref());
        waiting.into_iter().any(|waiting| match waiting.awaited {
            Awaited::Records(_) | Awaited::Stored(_) => false,
            Awaited::Send(_)
            | Awaited::Batch
            | Awaited::Group
            | Awaited::TopicQueues
            | Awaited::Done => true,
        })
    }
}

/// The client-made id of a message, which its answer repeats. Longer ones than clients make are
/// not repeated.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct UniqueKey {
    len: u8,
    bytes: [u8; Self::BYTES_MAX],
}

impl UniqueKey {
    const BYTES_MAX: usize = 63;

    pub(crate) fn new(text: &str) -> Self {
        let mut bytes = [0; Self::BYTES_MAX];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Self { len: text.len() as u8, bytes }
            }
            None => Self { len: 0, bytes },
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or("")
    }
}

impl std::fmt::Debug for UniqueKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(connection: u64, until_ms: Option<u64>) -> Waiting {
        let to =
            ReplyTo { connection: ConnectionId(connection), opaque: 1, kind: HeaderKind::Json };
        Waiting { to, awaited: Awaited::Done, until_ms, is_held: false, topics: None }
    }

    #[test]
    fn an_old_ticket_does_not_fit_a_place_that_was_taken_again() {
        let mut list = WaitingList::default();
        let first = list.add(waiting(1, None));
        assert_eq!(list.take(first).unwrap().to.connection, ConnectionId(1));
        let second = list.add(waiting(2, None));
        assert_ne!(first, second);
        assert!(list.take(first).is_none());
        assert!(list.take(NOBODY).is_none());
        assert_eq!(list.take(second).unwrap().to.connection, ConnectionId(2));
        assert_eq!(list.len(), 0);
    }

    #[test]
    fn a_gone_connection_waits_for_nothing() {
        let mut list = WaitingList::default();
        let gone = list.add(waiting(1, Some(5)));
        let there = list.add(waiting(2, Some(7)));
        list.forget(ConnectionId(1));
        assert!(list.take(gone).is_none());
        list.find_earliest();
        assert_eq!((list.len(), list.earliest_ms()), (1, Some(7)));
        assert!(list.take(there).is_some());
    }

    #[test]
    fn a_unique_key_is_repeated_or_left_out() {
        assert_eq!(UniqueKey::new("7F00").as_str(), "7F00");
        assert_eq!(UniqueKey::new(&"x".repeat(63)).as_str().len(), 63);
        assert_eq!(UniqueKey::new(&"x".repeat(64)).as_str(), "");
    }
}
