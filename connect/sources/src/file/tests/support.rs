use std::collections::BTreeMap;
use std::io::IoSlice;
use std::path::Path;
use std::time::Duration;

use millrace_connect_api::{Polled, Position, RejectCode, Source as _, SourceCursor, Standing};
use millrace_disk::{Access, RealDisk, SimDisk};

use super::super::*;
use super::flaky::Flaky;

/// A disk, and whoever writes the logs on it.
pub(super) struct Writer {
    pub(super) disk: Arc<dyn Disk>,
    /// Where the logs are.
    pub(super) dir: String,
    /// Keeps a real directory while the test runs.
    _real: Option<tempfile::TempDir>,
}

impl Writer {
    pub(super) fn simulated() -> Self {
        Self::on(Arc::new(SimDisk::new(1)))
    }

    /// Writes on a disk of the test's own, which has the directory `/logs` then.
    pub(super) fn on(disk: Arc<dyn Disk>) -> Self {
        disk.create_dir_all(Path::new("/logs")).unwrap();
        Self { disk, dir: "/logs".into(), _real: None }
    }

    pub(super) fn real() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().to_str().unwrap().to_owned();
        Self { disk: Arc::new(RealDisk::new()), dir: path, _real: Some(dir) }
    }

    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }

    /// Appends to a file, which need not be there.
    pub(super) fn append(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        let path = Path::new(&path);
        let file = match self.disk.exists(path).unwrap() {
            true => self.disk.open(path, Access::ReadWrite).unwrap(),
            false => self.disk.create(path).unwrap(),
        };
        file.write_at(&[IoSlice::new(text.as_ref())], file.size().unwrap()).unwrap();
    }

    pub(super) fn truncate(&self, name: &str, len: u64) {
        let path = self.path(name);
        self.disk.open(Path::new(&path), Access::ReadWrite).unwrap().truncate(len).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        let (from, to) = (self.path(from), self.path(to));
        self.disk.replace(Path::new(&from), Path::new(&to)).unwrap();
    }

    pub(super) fn remove(&self, name: &str) {
        self.disk.remove(Path::new(&self.path(name))).unwrap();
    }

    pub(super) fn copy(&self, from: &str, to: &str) {
        let path = self.path(from);
        let file = self.disk.open(Path::new(&path), Access::Read).unwrap();
        let mut bytes = vec![0; file.size().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        self.append(to, bytes);
    }

    pub(super) fn exists(&self, name: &str) -> bool {
        self.disk.exists(Path::new(&self.path(name))).unwrap()
    }

    /// Bytes in a file; 0 if it is not there.
    pub(super) fn size(&self, name: &str) -> u64 {
        let path = self.path(name);
        match self.disk.open(Path::new(&path), Access::Read) {
            Ok(file) => file.size().unwrap(),
            Err(_) => 0,
        }
    }

    /// The same disk for someone to whom every so many looks and reads fail.
    pub(super) fn flaky(&self, every: u64) -> Self {
        let disk = Arc::new(Flaky::new(Arc::clone(&self.disk), every));
        Self { disk, dir: self.dir.clone(), _real: None }
    }

    /// Tries to open a source until it works.
    pub(super) fn open_at_last(&self, options: &FileOptions, resume: &[SourceCursor]) -> Reader {
        let attempts = (0..1000).map(|_| self.try_open(options.clone(), resume));
        attempts.flatten().next().expect("every failure is one of a few")
    }

    pub(super) fn options(&self, include: &[&str]) -> FileOptions {
        let include = include.iter().map(|name| self.path(name)).collect();
        FileOptions { include, ..FileOptions::default() }
    }

    pub(super) fn once(&self, include: &[&str]) -> FileOptions {
        FileOptions { once: true, ..self.options(include) }
    }

    pub(super) fn open(&self, options: FileOptions, resume: &[SourceCursor]) -> Reader {
        self.try_open(options, resume).unwrap()
    }

    pub(super) fn try_open(
        &self,
        options: FileOptions,
        resume: &[SourceCursor],
    ) -> Result<Reader, SourceError> {
        let source = FileSource::open(Arc::clone(&self.disk), options, resume.to_vec())?;
        let mut cursors = BTreeMap::new();
        for cursor in resume {
            let at = At {
                path: cursor.path.clone(),
                position: cursor.position,
                is_last_record: false,
                standing: cursor.standing,
                stored: cursor.standing,
            };
            cursors.insert(cursor.identity.clone(), at);
        }
        Ok(Reader { source, cursors, last: BTreeMap::new() })
    }

    /// Opens a source as the runtime does after a stop.
    pub(super) fn open_after_stop(&self, options: &FileOptions, reader: &Reader) -> Reader {
        let mut reopened = self.open_at_last(options, &reader.cursors());
        reopened.cursors.clone_from(&reader.cursors);
        reopened.cursors.values_mut().for_each(|at| at.stored = at.standing);
        reopened
    }

    /// Opens a source as the runtime does after a crash, when it has found the last records in the
    /// log: it knows where those start, and drops them when they come again.
    pub(super) fn open_after_crash(&self, options: &FileOptions, mut reader: Reader) -> Reader {
        let last = std::mem::take(&mut reader.last);
        for (identity, position) in last {
            let at = reader.cursors.get_mut(&identity).expect("each record leaves a cursor");
            (at.position, at.is_last_record) = (position, true);
        }
        // Nothing was stored of what the source told since the start.
        reader.cursors.values_mut().for_each(|at| at.standing = at.stored);
        self.open_after_stop(options, &reader)
    }
}

/// One record as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) name: String,
    pub(super) identity: String,
    pub(super) header: Option<Arc<str>>,
    pub(super) position: Position,
    pub(super) next: Position,
    /// The record, or what was kept of it and why no more.
    pub(super) body: Result<String, (RejectCode, String)>,
}

/// What the runtime knows of an origin.
#[derive(Clone, Debug)]
pub(super) struct At {
    path: String,
    position: Position,
    /// Whether the record at the position is there already.
    is_last_record: bool,
    standing: Standing,
    /// What a crash leaves of it.
    stored: Standing,
}

/// A source, and what the runtime would know of what it gave.
pub(super) struct Reader {
    pub(super) source: FileSource,
    cursors: BTreeMap<String, At>,
    /// Where the last record of each origin since the start starts.
    last: BTreeMap<String, Position>,
}

impl Reader {
    pub(super) fn cursors(&self) -> Vec<SourceCursor> {
        let cursor = |(identity, at): (&String, &At)| SourceCursor {
            identity: identity.clone(),
            path: at.path.clone(),
            position: at.position,
            standing: at.standing,
        };
        self.cursors.iter().map(cursor).collect()
    }

    /// All until the source ends or has nothing for now.
    pub(super) async fn records(&mut self) -> Vec<Record> {
        let mut records = Vec::new();
        loop {
            match self.source.poll().await {
                Ok(Polled::Chunk(chunk)) => records.extend(self.take(chunk, None)),
                Ok(Polled::Unreadable(chunk, reject)) => {
                    records.extend(self.take(chunk, Some(reject)));
                }
                Ok(Polled::Standing(identity, standing)) => {
                    if let Some(at) = self.cursors.get_mut(&identity) {
                        at.standing = standing;
                    }
                }
                Ok(Polled::Idle | Polled::End) => return records,
                // Only a flaky disk says so.
                Err(SourceError::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::TimedOut => {}
                Err(error) => panic!("{error}: {error:?}"),
            }
        }
    }

    pub(super) async fn bodies(&mut self) -> Vec<String> {
        self.records().await.into_iter().map(|record| record.body.unwrap()).collect()
    }

    /// What comes until nothing has come for a time.
    pub(super) async fn bodies_for(&mut self, time: Duration) -> Vec<String> {
        let end = Instant::now() + time;
        let mut bodies = Vec::new();
        while Instant::now() < end {
            bodies.extend(self.bodies().await);
        }
        bodies
    }

    pub(super) fn take(&mut self, chunk: Chunk, reject: Option<Reject>) -> Vec<Record> {
        let Chunk { origin, data, records } = chunk;
        let take = |span: millrace_connect_api::Span| {
            let body = &data[span.at as usize..][..span.len as usize];
            let body = String::from_utf8_lossy(body).into_owned();
            let identity = &origin.identity;
            let next = At {
                path: origin.path.clone(),
                position: span.next,
                is_last_record: false,
                standing: Standing::Open,
                stored: Standing::Open,
            };
            if let Some(at) = self.cursors.insert(identity.clone(), next) {
                assert!(at.position <= span.position, "{at:?} of {identity}, then {span:?}");
                if at.is_last_record && at.position == span.position {
                    return None;
                }
            }
            self.last.insert(identity.clone(), span.position);
            Some(Record {
                name: origin.path.rsplit('/').next().unwrap().to_owned(),
                identity: origin.identity.clone(),
                header: origin.header.clone(),
                position: span.position,
                next: span.next,
                body: match &reject {
                    None => Ok(body),
                    Some(reject) => Err((reject.code, body)),
                },
            })
        };
        records.into_iter().filter_map(take).collect()
    }
}

/// Runs a test in simulated time, on a simulated disk and on a real one.
pub(super) fn on_both_disks<F: Future<Output = ()>>(test: impl Fn(Writer) -> F) {
    for writer in [Writer::simulated(), Writer::real()] {
        in_simulated_time(test(writer));
    }
}

pub(super) fn in_simulated_time(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test);
}

/// So many numbered lines of 20 bytes.
pub(super) fn lines(numbers: std::ops::Range<u32>) -> String {
    numbers.map(|number| format!("line number {number:07}\n")).collect()
}

pub(super) fn numbered(numbers: std::ops::Range<u32>) -> Vec<String> {
    lines(numbers).lines().map(str::to_owned).collect()
}
