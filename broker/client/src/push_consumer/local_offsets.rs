use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millrace_disk::{Access, Disk};
use millrace_protocol::MessageQueue;
use millrace_types::{QueueId, QueueOffset};

/// The offsets of one member of a broadcasting group, in a file of its own.
///
/// The file has a line for each queue: topic, broker, queue and offset with blanks in between. It
/// is replaced as a whole, so that a crash leaves the old one or the new one.
#[derive(Debug)]
pub struct LocalOffsets {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    known: Mutex<BTreeMap<MessageQueue, QueueOffset>>,
}

/// A file of offsets is small.
const FILE_BYTES_MAX: u64 = 64 << 20;

impl LocalOffsets {
    /// Reads the file, or begins without one. A line that is none is an error: whoever guessed
    /// would skip messages or repeat them.
    pub fn open(disk: Arc<dyn Disk>, path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let known = if disk.exists(&path)? { read(&*disk, &path)? } else { BTreeMap::new() };
        Ok(Self { disk, path, known: Mutex::new(known) })
    }

    pub(super) fn get(&self, queue: &MessageQueue) -> Option<QueueOffset> {
        self.lock().get(queue).copied()
    }

    pub(super) fn put(&self, queue: &MessageQueue, offset: QueueOffset) {
        self.lock().insert(queue.clone(), offset);
    }

    /// Writes the file. Blocks.
    pub(super) fn save(&self) -> io::Result<()> {
        let mut text = String::new();
        for (queue, offset) in &*self.lock() {
            let MessageQueue { topic, broker_name, queue_id } = queue;
            text.push_str(&format!("{topic} {broker_name} {queue_id} {offset}\n"));
        }
        // The whole name, so that no two files have the same draft.
        let mut draft = self.path.clone().into_os_string();
        draft.push(".new");
        let draft = PathBuf::from(draft);
        if self.disk.exists(&draft)? {
            self.disk.remove(&draft)?;
        }
        let file = self.disk.create(&draft)?;
        file.write_at(&[IoSlice::new(text.as_bytes())], 0)?;
        file.sync()?;
        self.disk.replace(&draft, &self.path)?;
        match self.path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => self.disk.sync_dir(dir),
            _ => self.disk.sync_dir(Path::new(".")),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<MessageQueue, QueueOffset>> {
        // Nothing under the lock can panic halfway through a change.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(disk: &dyn Disk, path: &Path) -> io::Result<BTreeMap<MessageQueue, QueueOffset>> {
    let invalid = |what: String| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()))
    };
    let file = disk.open(path, Access::Read)?;
    let size = file.size()?;
    if size > FILE_BYTES_MAX {
        return Err(invalid(format!("{size} bytes are no file of offsets")));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], filled as u64)? {
            0 => break,
            n => filled += n,
        }
    }
    let text = std::str::from_utf8(&bytes[..filled]).map_err(|error| invalid(error.to_string()))?;
    let mut known = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let (queue, offset) = parse(line).ok_or_else(|| {
            invalid(format!("line {} is not topic, broker, queue, offset", at + 1))
        })?;
        known.insert(queue, offset);
    }
    Ok(known)
}

/// Names have no blanks.
fn parse(line: &str) -> Option<(MessageQueue, QueueOffset)> {
    let mut words = line.split(' ');
    let topic = words.next()?.to_owned();
    let broker_name = words.next()?.to_owned();
    let queue_id = QueueId(words.next()?.parse().ok()?);
    let offset = QueueOffset(words.next()?.parse().ok()?);
    words.next().is_none().then_some((MessageQueue { topic, broker_name, queue_id }, offset))
}

#[cfg(test)]
mod tests {
    use millrace_disk::SimDisk;

    use super::*;

    fn queue(id: u32) -> MessageQueue {
        MessageQueue { topic: "t".into(), broker_name: "b".into(), queue_id: QueueId(id) }
    }

    #[test]
    fn offsets_are_there_after_a_crash() {
        let disk = SimDisk::new(1);
        disk.create_dir_durably(Path::new("/c")).unwrap();
        let offsets = LocalOffsets::open(Arc::new(disk.clone()), "/c/offsets").unwrap();
        offsets.put(&queue(0), QueueOffset(5));
        offsets.save().unwrap();
        offsets.put(&queue(1), QueueOffset(7));
        offsets.save().unwrap();
        offsets.put(&queue(1), QueueOffset(9));
        let after = LocalOffsets::open(Arc::new(disk.power_cut()), "/c/offsets").unwrap();
        assert_eq!(after.get(&queue(0)), Some(QueueOffset(5)));
        assert_eq!(after.get(&queue(1)), Some(QueueOffset(7)));
        assert_eq!(after.get(&queue(2)), None);
    }

    #[test]
    fn a_file_of_something_else_is_an_error() {
        let disk = SimDisk::new(1);
        let file = disk.create(Path::new("/offsets")).unwrap();
        file.write_at(&[IoSlice::new(b"t b 0 5\nt b x 5\n")], 0).unwrap();
        let error = LocalOffsets::open(Arc::new(disk), "/offsets").unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
    }
}
