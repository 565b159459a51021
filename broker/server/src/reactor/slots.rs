use millrace_engine::ConnectionId;
use mio::Token;

use super::connection::Connection;

/// Connections by number. The number is part of the connection's id and of its token.
pub(super) struct Slots {
    places: Vec<Place>,
    free: Vec<usize>,
    first_token: usize,
}

struct Place {
    /// Part of the id, so that what is meant for an earlier connection does not reach this one.
    generation: u64,
    connection: Option<Connection>,
}

/// Bits of an id that hold the slot.
const SLOT_BITS: u32 = 24;

impl Slots {
    pub(super) fn new(first_token: usize) -> Self {
        Self { places: Vec::new(), free: Vec::new(), first_token }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Adds the connection that `make` makes from its id and token.
    pub(super) fn add<E>(
        &mut self,
        make: impl FnOnce(ConnectionId, Token) -> Result<Connection, E>,
    ) -> Result<usize, E> {
        let slot = match self.free.last() {
            Some(&slot) => slot,
            None => {
                self.places.push(Place { generation: 0, connection: None });
                self.free.push(self.places.len() - 1);
                self.places.len() - 1
            }
        };
        let place = &mut self.places[slot];
        let generation = place.generation + 1;
        let id = ConnectionId(generation << SLOT_BITS | slot as u64);
        place.connection = Some(make(id, Token(self.first_token + slot))?);
        place.generation = generation;
        self.free.pop();
        Ok(slot)
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<Connection> {
        let connection = self.places.get_mut(slot)?.connection.take()?;
        self.free.push(slot);
        Some(connection)
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut Connection> {
        self.places.get_mut(slot)?.connection.as_mut()
    }

    pub(super) fn by_token(&mut self, token: usize) -> Option<(usize, &mut Connection)> {
        let slot = token.checked_sub(self.first_token)?;
        self.get_mut(slot).map(|connection| (slot, connection))
    }

    pub(super) fn find(&mut self, id: ConnectionId) -> Option<(usize, &mut Connection)> {
        let slot = (id.0 & ((1 << SLOT_BITS) - 1)) as usize;
        let place = self.places.get_mut(slot)?;
        if place.generation != id.0 >> SLOT_BITS {
            return None;
        }
        place.connection.as_mut().map(|connection| (slot, connection))
    }

    /// The connection for which most is held.
    pub(super) fn largest(&self) -> Option<(usize, &Connection)> {
        let known = self.places.iter().enumerate();
        let known = known.filter_map(|(slot, place)| Some((slot, place.connection.as_ref()?)));
        known.max_by_key(|(_, connection)| connection.counted)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Connection> {
        self.places.iter().filter_map(|place| place.connection.as_ref())
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Connection> {
        self.places.iter_mut().filter_map(|place| place.connection.as_mut())
    }

    /// The numbers that may have a connection.
    pub(super) fn slots(&self) -> std::ops::Range<usize> {
        0..self.places.len()
    }
}
