use std::sync::Arc;

use super::*;

impl Reactor {
    /// A pull whose records attached filters have to see.
    pub(super) fn have_judged(&mut self, slot: usize, waiting: Waiting, found: Found) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        if connection.to_judge.len() >= TO_JUDGE_MAX {
            let (to, output) = (waiting.to, &mut connection.output);
            return write_refusal(&Refusal::Overloaded, Dialect::RocketMq, to, output);
        }
        connection.to_judge.push_back(waiting, found);
        self.pump_judges(slot);
    }

    /// Hands pulls to the judges, as far as the peer takes what it is given.
    pub(super) fn pump_judges(&mut self, slot: usize) {
        let Some(connection) = self.connections.get_mut(slot) else {
            return;
        };
        while connection.at_judges < AT_JUDGES_MAX
            && connection.output.len() <= self.shell.limits.output_bytes_max
            && let Some((waiting, found)) = connection.to_judge.pop_front()
        {
            connection.at_judges += 1;
            // While the job is there, nothing else has the address of one of its filters.
            let slow = found.verdicts.iter().filter(|verdicts| verdicts.takes_long());
            let modules = slow.map(|verdicts| Arc::as_ptr(verdicts).addr()).collect();
            let (shared, to) = (Arc::clone(&self.shared), waiting.to);
            let work = move || match judge(found, &shared, to, &waiting.awaited) {
                Ok(output) => Outcome::Answered(output),
                Err((held, next)) => Outcome::NoneKept(waiting, held, next),
            };
            self.judges.judge(modules, judges::Job { to, work: Box::new(work) });
        }
    }

    /// Takes what the judges have found out.
    pub(super) fn take_judged(&mut self) {
        let mut waits_on = Vec::new();
        let is_stopping = self.control.stopping.load(Ordering::Acquire);
        for Judged { connection, duty, outcome } in self.judges.take_done() {
            self.chore_under_way &= duty != Duty::Chores;
            let Some((slot, connection)) = self.connections.find(connection) else {
                continue;
            };
            connection.at_judges -= 1;
            match outcome {
                Outcome::Answered(output) => connection.output.append(output),
                Outcome::NoneKept(waiting, held, next) => {
                    connection.in_flight += 1;
                    connection.held_pulls += 1;
                    let until_ms = if is_stopping { 0 } else { held.until_ms() };
                    let waiting = Waiting { until_ms: Some(until_ms), is_held: true, ..waiting };
                    waits_on.push((self.shell.waiting.add(waiting), held, next));
                }
            }
            self.pump_judges(slot);
            self.count(slot);
            self.mark_dirty(slot);
        }
        if waits_on.is_empty() {
            return;
        }
        self.shared.step(Needs::Policy, |step| {
            // Whoever would wait for a message is told at once that there will be none.
            let mono_ms = if is_stopping { u64::MAX } else { step.now.mono_ms };
            let now = Now { mono_ms, ..step.now };
            for (ticket, held, next) in waits_on {
                step.engine.wait_on(now, ticket, held, next, step.out);
            }
        });
    }

    /// Has the next change of the filters made, one after the other.
    pub(super) fn hand_out_chore(&mut self) {
        while !self.chore_under_way
            && let Some(Question { to, work, .. }) = self.shell.chores.pop_front()
        {
            if let Some((_, connection)) = self.connections.find(to.connection) {
                connection.in_flight -= 1;
                connection.at_judges += 1;
                self.chore_under_way = true;
                let work = Box::new(move || Outcome::Answered(work()));
                self.judges.do_chore(judges::Job { to, work });
            }
        }
    }
}
