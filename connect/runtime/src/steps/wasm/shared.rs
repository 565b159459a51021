use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use millrace_connect_api::{Message, Messages};
use millrace_types::record::sys_flag;
use millrace_types::{java_hash, keys};
use millrace_wasm_host::{Batch, Decisions, Filter, Record, StartError};

/// The batch that the modules of a chain share.
///
/// What a module gets beside the bytes of a message has to be looked for in them: the key, the tag,
/// the flags. The first of several modules does, and those behind it get what it has found, of the
/// messages that are left. The bytes themselves go from where the broker gave them into each
/// module's memory; a copy that is written down in between costs more than it saves.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Found>>);

#[derive(Default)]
struct Found {
    /// Whose they are. No others have that address while this is kept.
    messages: Weak<Messages>,
    /// By number of the message, ascending.
    parts: Vec<(u32, Parts)>,
}

/// What was found in a message.
#[derive(Clone)]
struct Parts {
    /// In the properties.
    key: Option<Range<u32>>,
    tag_hash: u32,
    sys_flags: u32,
}

impl Shared {
    /// Has a module decide over some messages, which are named in their order.
    pub(super) fn run(
        &self,
        filter: &Filter,
        messages: &Arc<Messages>,
        rows: &[u32],
    ) -> Result<Decisions, StartError> {
        let is_alone = Arc::strong_count(&self.0) == 1;
        let records = match is_alone {
            true => {
                rows.iter().map(|row| Parts::of(messages, *row).record(messages, *row)).collect()
            }
            false => self.0.lock().unwrap_or_else(PoisonError::into_inner).records(messages, rows),
        };
        let topic = messages.queue().topic.as_str();
        let queue = i32::try_from(messages.queue().queue.0).unwrap_or(i32::MAX);
        filter.run(&Batch { topic, queue, records: &records })
    }
}

impl Found {
    fn records<'m>(&mut self, messages: &'m Arc<Messages>, rows: &[u32]) -> Vec<Record<'m>> {
        if std::ptr::eq(self.messages.as_ptr(), Arc::as_ptr(messages))
            && let Some(records) = self.known(messages, rows)
        {
            return records;
        }
        self.messages = Arc::downgrade(messages);
        self.parts.clear();
        let record = |row: &u32| {
            let parts = Parts::of(messages, *row);
            let record = parts.record(messages, *row);
            self.parts.push((*row, parts));
            record
        };
        rows.iter().map(record).collect()
    }

    /// `None` if one of the messages is not there.
    fn known<'m>(&self, messages: &'m Messages, rows: &[u32]) -> Option<Vec<Record<'m>>> {
        let mut all = self.parts.iter();
        let record = |row: &u32| {
            let (_, parts) = all.find(|(known, _)| known == row)?;
            Some(parts.record(messages, *row))
        };
        rows.iter().map(record).collect()
    }
}

impl Parts {
    fn of(messages: &Messages, row: u32) -> Self {
        let properties = messages.get(row as usize).properties;
        let [tag, key] = properties.pick([keys::TAGS, keys::KEYS]);
        let begin = properties.as_bytes().as_ptr().addr();
        Self {
            key: key.map(|key| {
                let at = (key.as_ptr().addr() - begin) as u32;
                at..at + key.len() as u32
            }),
            tag_hash: tag.map_or(0, |tag| java_hash(tag) as u32),
            sys_flags: messages.record(row as usize).map_or(0, |record| {
                // No body that comes here is compressed any more.
                record.sys_flag() & !(sys_flag::COMPRESSED | sys_flag::COMPRESSION_MASK)
            }),
        }
    }

    /// The message that they were found in as a module gets it.
    fn record<'m>(&self, messages: &'m Messages, row: u32) -> Record<'m> {
        let Message { queue_offset, store_at_ms, body, properties, .. } =
            messages.get(row as usize);
        let properties = properties.as_bytes();
        let key = self.key.as_ref();
        Record {
            queue_offset: queue_offset.to_wire(),
            store_at_ms,
            key: key.map(|key| &properties[key.start as usize..key.end as usize]),
            body,
            properties,
            sys_flags: self.sys_flags,
            tag_hash: self.tag_hash,
        }
    }
}
