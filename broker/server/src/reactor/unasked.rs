//! What peers are sent without having asked for it.

use millrace_protocol::{Call, CallMode, GroupChanged, HeaderKind};
use millrace_types::Now;

use super::*;
use crate::clients::Changed;
use crate::handlers::transactions;
use crate::relays::Passed;

impl Reactor {
    /// Asks producers what is to become of half messages. Those whose group has nobody here are
    /// asked about again later.
    pub(super) fn ask_producers(&mut self) {
        let mut asked = Vec::new();
        for check in std::mem::take(&mut self.checks) {
            let producer = self.shell.producers.one_of(&check.group, check.half.0);
            let found = producer.and_then(|producer| self.connections.find(producer));
            if let Some((slot, connection)) = found
                && transactions::ask(&check, &self.shell.names.broker, &mut connection.output)
            {
                asked.push(check.half);
                self.mark_dirty(slot);
            }
        }
        if !asked.is_empty() {
            self.shared.step(Needs::Policy, |step| {
                asked.iter().for_each(|half| step.engine.on_checked(step.now, *half));
            });
        }
    }

    /// Tells the members of changed groups to look at them again.
    pub(super) fn tell_changed(&mut self, now: Now) {
        self.forget_gone();
        let mut notice = Vec::new();
        for Changed { group, members } in self.shell.clients.take_changed(now.mono_ms) {
            if !self.shell.rules.get(&group).notifies {
                continue;
            }
            notice.clear();
            let call = GroupChanged { group: (&*group).into() };
            call.write(HeaderKind::Json, 0, CallMode::Oneway, &mut notice);
            let group = group.into();
            for member in members {
                if let Some((slot, connection)) = self.connections.find(member)
                    && connection.notices.add(&group, &notice, &mut connection.output)
                {
                    self.mark_dirty(slot);
                    self.count(slot);
                }
            }
        }
    }

    /// Sends what tools ask of clients, and what these answer.
    pub(super) fn pass_on(&mut self, now: Now) {
        if self.shell.relays.earliest_ms().is_some_and(|at| at <= now.mono_ms) {
            self.shell.relays.on_tick(now.mono_ms);
        }
        for Passed { to, bytes, answers } in std::mem::take(&mut self.shell.relays.frames) {
            if let Some((slot, connection)) = self.connections.find(to) {
                connection.output.push(bytes.into());
                connection.in_flight -= usize::from(answers);
                self.mark_dirty(slot);
            }
        }
    }
}
