use std::collections::VecDeque;

use millrace_types::PhysicalOffset;

use crate::answer::{Answer, Out, Refusal};
use crate::request::{Ticket, Wait};

/// Answers that are ready but for the log: first until the burst is written, then, if the request
/// waits for it, until it is durable.
#[derive(Debug, Default)]
pub(crate) struct PendingAnswers {
    staged: Vec<Pending>,
    /// In order of `end`.
    written: VecDeque<Pending>,
}

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) ticket: Ticket,
    pub(crate) answer: Answer,
    pub(crate) wait: Wait,
    /// One past the last byte that the answer stands for.
    pub(crate) end: PhysicalOffset,
    pub(crate) until_ms: u64,
}

impl PendingAnswers {
    pub(crate) fn stage(&mut self, pending: Pending) {
        self.staged.push(pending);
    }

    pub(crate) fn nothing_staged(&self) -> bool {
        self.staged.is_empty()
    }

    /// The burst is written: gives out what need not wait any longer.
    pub(crate) fn on_written(&mut self, sync: bool, out: &mut Out) {
        for pending in self.staged.drain(..) {
            let waits = match pending.wait {
                Wait::Written => false,
                Wait::Policy => sync,
                Wait::Durable => true,
            };
            if waits {
                self.written.push_back(pending);
            } else {
                out.push(pending.ticket, pending.answer);
            }
        }
    }

    /// The log is durable up to `durable`.
    pub(crate) fn on_durable(&mut self, durable: PhysicalOffset, out: &mut Out) {
        while let Some(pending) = self.written.pop_front_if(|pending| pending.end <= durable) {
            out.push(pending.ticket, pending.answer);
        }
    }

    /// Nothing will be written or become durable any more.
    pub(crate) fn on_poisoned(&mut self, reason: &str, out: &mut Out) {
        for pending in self.staged.drain(..).chain(self.written.drain(..)) {
            out.push(pending.ticket, Answer::Refused(Refusal::Poisoned(reason.to_owned())));
        }
    }

    /// Time passes: a producer is told that its message is stored but not yet durable.
    pub(crate) fn on_tick(&mut self, now_ms: u64, out: &mut Out) {
        let expired =
            |pending: &Pending| pending.wait == Wait::Policy && pending.until_ms <= now_ms;
        if !self.written.iter().any(expired) {
            return;
        }
        for pending in std::mem::take(&mut self.written) {
            match pending.answer {
                Answer::Appended(places)
                    if expired_fields(pending.wait, pending.until_ms, now_ms) =>
                {
                    out.push(pending.ticket, Answer::NotYetDurable(places));
                }
                answer => self.written.push_back(Pending { answer, ..pending }),
            }
        }
    }
}

fn expired_fields(wait: Wait, until_ms: u64, now_ms: u64) -> bool {
    wait == Wait::Policy && until_ms <= now_ms
}
