//! A pipeline on a broker and a disk in memory, and what has to come of it.
//!
//! Everything is what a run uses, from the decoder to the files; only the source is another one,
//! which gives the messages of a test. The power of the disk can be cut at any of its operations,
//! after which the pipeline is started again.

mod outcome; // what came of it
mod recorder; // a server that takes every request
mod verdict; // whether that is right

use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use millrace_client::{Append, Broker, Outgoing, Wait};
use millrace_config::{FilesSpec, Given, GivenMessage, Pipeline, SinkKind, SourceSpec, TestCase};
use millrace_disk::{Disk, SimDisk};
use millrace_runtime::{
    Connectors, OpenSource, Patience, Run, RunError, RunOptions, Summary, Until,
};
use millrace_server::{Core, CoreConfig, Flushing};
use millrace_sources::{FileOptions, FileSource};
use millrace_store::StoreConfig;
use millrace_types::{PropertiesBuf, QueueId, keys};

use crate::commands::run::one_thread;
use crate::exit::{Exit, Failure, codes};
use crate::pipeline_file::Checked;
use crate::{sinks, sources};
use outcome::Outcome;
use recorder::Recorder;

/// What has to be there for a test.
pub(crate) struct Trial<'a> {
    case: &'a TestCase,
    checked: &'a Checked,
    pipeline: Arc<Pipeline>,
    /// What the messages say, one line each, by what gives them.
    given: Vec<Vec<Vec<u8>>>,
}

/// How a test went.
pub(crate) struct Verdict {
    /// What is not as it has to be.
    pub(crate) complaints: Vec<String>,
    /// How many operations of the disk it took.
    pub(crate) operations: u64,
}

const DATA: &str = "/data";
const OUT: &str = "/out";
const GIVEN: &str = "/given/messages";

/// A test is small, and has one of these for itself.
const SEGMENT_BYTES: u64 = 4 << 20;
const INDEX_RUN_BYTES: u64 = 1 << 20;

impl<'a> Trial<'a> {
    /// Reads what the test needs from the disk that there really is.
    pub(crate) fn new(checked: &'a Checked, case: &'a TestCase) -> Result<Self, Failure> {
        let mut pipeline = Pipeline::clone(&checked.pipeline);
        for sink in &mut pipeline.sinks {
            let to = Path::new(OUT).join(&sink.name);
            match &mut sink.kind {
                SinkKind::Files(spec) => spec.to = to,
                SinkKind::Stdout { columns } => {
                    sink.kind = SinkKind::Files(FilesSpec::lines(to, std::mem::take(columns)));
                }
                // What a test expects are rows, and these are the rows of its documents.
                SinkKind::Index(spec) => {
                    let fields = std::mem::take(&mut spec.fields).into_iter();
                    let columns = fields.map(|field| field.column).collect();
                    sink.kind = SinkKind::Files(FilesSpec::lines(to, columns));
                }
                SinkKind::Http(_) | SinkKind::Blackhole => {}
            }
        }
        let given = case.given.iter().map(|message| lines(&message.given));
        let given = given.collect::<Result<_, _>>()?;
        Ok(Self { case, checked, pipeline: Arc::new(pipeline), given })
    }

    /// Runs the pipeline to its end and judges what came of it.
    pub(crate) fn run(&self) -> Result<Verdict, Failure> {
        let disk = SimDisk::new(0);
        let before = self.provide(&disk)?;
        let (summary, outcome) = self.live(&disk, &Recorder::default(), true)?;
        let complaints = verdict::complaints(self.case, Some(&summary), &outcome);
        Ok(Verdict { complaints, operations: disk.operations() - before })
    }

    /// The same with a power cut after some operations of the disk. What it had not synced is lost
    /// or torn, as the seed says.
    pub(crate) fn run_with_cut(&self, after: u64, seed: u64) -> Result<Verdict, Failure> {
        let disk = SimDisk::new(seed);
        let before = self.provide(&disk)?;
        disk.cut_after(after);
        // Another machine, which keeps its power.
        let server = Recorder::default();
        let ended = self.live(&disk, &server, false);
        if !disk.is_cut() {
            ended?;
        }
        let disk = disk.power_cut();
        let (_, outcome) = self.live(&disk, &server, true)?;
        let complaints = verdict::complaints(self.case, None, &outcome);
        Ok(Verdict { complaints, operations: disk.operations() - before })
    }

    /// Puts the messages where the source finds them. Returns how many operations that took.
    fn provide(&self, disk: &SimDisk) -> Result<u64, Failure> {
        let path = Path::new(GIVEN);
        let dir = path.parent().expect("it is in a directory");
        let lines = self.given.iter().flatten();
        let bytes: Vec<u8> = lines.flat_map(|line| [line, &b"\n"[..]].concat()).collect();
        let write = || {
            disk.create_dir_durably(dir)?;
            let file = disk.create(path)?;
            file.write_at(&[IoSlice::new(&bytes)], 0)?;
            file.sync()?;
            disk.sync_dir(dir)
        };
        write().map_err(|error| broken(&error))?;
        Ok(disk.operations())
    }

    /// From a start to the end, or to the power cut.
    fn live(
        &self,
        disk: &SimDisk,
        server: &Recorder,
        is_last: bool,
    ) -> Result<(Summary, Outcome), Failure> {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let config = CoreConfig {
            store: StoreConfig {
                segment_bytes: SEGMENT_BYTES,
                index_run_bytes: INDEX_RUN_BYTES,
                ..StoreConfig::default()
            },
            flushing: Flushing::Manual,
            ..CoreConfig::default()
        };
        let (core, _) = Core::open(Arc::clone(&shared), Path::new(DATA), config)?;
        let broker: Arc<dyn Broker> = Arc::new(core.local());
        let source = self.pipeline.source.as_ref();
        one_thread()?.block_on(async {
            if source.is_none() {
                self.produce(&broker).await?;
            }
            let connectors = Connectors {
                source: source.map(|spec| given_source(spec, Arc::clone(&shared))),
                sink: sinks::open(Arc::clone(&self.pipeline), Arc::clone(&shared), server.dial()),
            };
            let options = RunOptions {
                until: Until::Drained,
                patience: Patience::SHORT,
                filters: self.checked.filters.on_one_thread(),
                ..RunOptions::new(if is_last { "test" } else { "test before the power cut" })
            };
            let pipeline = Arc::clone(&self.pipeline);
            let run = Run::new(pipeline, Arc::clone(&broker), connectors, options);
            let summary = run.finish().await.map_err(|error: RunError| Failure::from(error))?;
            let outcome = outcome::of(&self.pipeline, &broker, disk, server).await?;
            Ok((summary, outcome))
        })
    }

    /// Without a source the messages are in the topic already, once.
    async fn produce(&self, broker: &Arc<dyn Broker>) -> Result<(), Failure> {
        let topic = &self.pipeline.topic.name;
        broker.ensure_topic(topic, self.pipeline.topic.queues).await?;
        let queue = QueueId(0);
        if broker.bounds(topic, queue).await?.1.0 > 0 {
            return Ok(());
        }
        let mut messages = Vec::new();
        for (message, lines) in self.case.given.iter().zip(&self.given) {
            let properties = Bytes::from(properties(message));
            messages.extend(lines.iter().map(|line| Outgoing {
                topic: topic.clone(),
                queue,
                body: line.clone().into(),
                properties: properties.clone(),
                born_at_ms: 0,
            }));
        }
        let append = Append { messages: messages.into(), fence: None, wait: Wait::Durable };
        broker.append(append).await?;
        Ok(())
    }
}

/// What a message says, or what those say that a file has.
fn lines(given: &Given) -> Result<Vec<Vec<u8>>, Failure> {
    let path = match given {
        Given::Body(body) => return Ok(vec![body.to_string().into_bytes()]),
        Given::Raw(text) => return Ok(vec![text.clone().into_bytes()]),
        Given::File(path) => path,
    };
    let bytes = std::fs::read(path).map_err(|error| {
        let message = format!("cannot read {}: {error}", path.display());
        Failure::new(Exit::Input, codes::FILE, message).caused_by(&error)
    })?;
    let whole = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    Ok(whole.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect())
}

fn properties(message: &GivenMessage) -> Vec<u8> {
    let mut properties = PropertiesBuf::new();
    let own = [(keys::KEYS, &message.key), (keys::TAGS, &message.tag)];
    for (name, value) in own.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        properties.push(name, value);
    }
    for (name, value) in &message.properties {
        properties.push(name, value);
    }
    properties.into_bytes()
}

/// A source that gives the messages of the test, with the settings of the real one.
fn given_source(spec: &SourceSpec, disk: Arc<dyn Disk>) -> OpenSource {
    let like_spec = match spec {
        SourceSpec::File(spec) => sources::file(spec, true),
        SourceSpec::Generate(_) => FileOptions { once: true, ..FileOptions::default() },
    };
    let options = FileOptions { include: vec![GIVEN.into()], start_at_end: false, ..like_spec };
    Box::new(move |resume| Ok(Box::new(FileSource::open(disk, options, resume)?)))
}

fn broken(error: &std::io::Error) -> Failure {
    Failure::new(Exit::Failed, codes::TEST, format!("the disk in memory fails: {error}"))
        .caused_by(error)
}
