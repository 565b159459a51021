use std::collections::BTreeMap;

use millrace_connect_api::{Messages, Plan, QueueRef, Resume};
use millrace_types::QueueOffset;

/// How far a sink got whose rows are done once they are written.
#[derive(Debug)]
pub(crate) struct Position(BTreeMap<QueueRef, QueueOffset>);

impl Position {
    pub(crate) fn new(resume: Resume) -> Self {
        Self(resume.next)
    }

    pub(crate) fn advance(&mut self, messages: &Messages) {
        self.0.insert(messages.queue().clone(), messages.to());
    }

    pub(crate) fn plan(&self) -> Plan {
        let resume = Resume { next: self.0.clone(), ahead: BTreeMap::new() };
        Plan { parts: Vec::new(), resume }
    }
}
