//! What is held for all peers together, and who has to go where that is too much.

use super::*;

impl Reactor {
    /// Counts the bytes held for a peer; above the limit for all, somebody has to go.
    pub(super) fn count(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        let held = connection.held();
        self.held = self.held - connection.counted + held;
        self.control.held_bytes_peak.fetch_max(self.held, Ordering::Relaxed);
        self.heap.note(self.held);
        let grew = held > connection.counted.max(input::BUFFER_BYTES);
        connection.counted = held;
        if grew && self.held > self.shell.limits.held_bytes_max {
            self.make_room();
        }
    }

    /// Too much is held: buffers that nothing waits in go first, and then whoever holds most.
    fn make_room(&mut self) {
        for connection in self.connections.iter_mut() {
            connection.output.rest();
            let held = connection.held();
            self.held = self.held - connection.counted + held;
            connection.counted = held;
        }
        // All are counted now, so that those who have grown as well will not be found to have.
        while self.held > self.shell.limits.held_bytes_max && self.close_largest() {}
    }

    /// Closes the connection for which most is held, so that it is not the others that suffer.
    fn close_largest(&mut self) -> bool {
        let Some((slot, connection)) = self.connections.largest() else {
            return false;
        };
        let (peer, bytes) = (connection.caller.peer, connection.counted);
        if self.shell.complaints.may_say(self.shared.now().mono_ms) {
            warn!(%peer, bytes, "connection closed: too much is held for all peers");
        }
        self.remove(slot);
        true
    }
}
