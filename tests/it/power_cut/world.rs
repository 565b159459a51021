//! One simulated machine: an input file, a broker, a pipeline and a producer, on one thread.

use std::cell::RefCell;
use std::io::IoSlice;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use millrace_client::{Append, Broker, Outgoing, Wait};
use millrace_config::{Pipeline, StepSpec};
use millrace_connect_api::{
    Batch, Column, Cut, DataType, FileSink, Part, PartState, Plan, Published, Schema, SinkError,
    Written,
};
use millrace_disk::{Disk, RealDisk, SimDisk};
use millrace_runtime::{
    Clock, Connectors, Filters, OpenSink, Run, RunOptions, SinkOpening, Summary, fault,
};
use millrace_server::{Core, CoreConfig, Flushing};
use millrace_sink_files::{
    FilesOptions, FilesSink, Format, Metadata, ParquetFormat, TextCompression,
};
use millrace_sink_index::{FieldKind, IndexOptions, IndexSink, MappedField, Mapping, Rotate};
use millrace_sources::{FileOptions, FileSource};
use millrace_store::{Faults, FlushMode, StoreConfig};
use millrace_types::{Now, QueueId, TopicName};
use tokio::time::Instant;

use super::judge::{self, Expected};

pub(super) const PIPELINE: &str = r#"
version: 1
pipeline: sim
source:
  file:
    include: [/in/lines.jsonl]
    once: true
    decode: {json: {}}
topic:
  name: lines
  queues: 3
schema: {id: int, day: string, level: int}
steps:
  - filter: body.level >= 2 # or a module
  - set:
      at: CAST(props.file.offset AS INT)
sinks:
  lake:
    parquet:
      to: /lake
      partition_by: [body.day]
"#;

/// What lines that are to go on have at least. So a module tells them by their length, which every
/// fifth machine does.
const LONG: usize = 64;

/// The steps of such a machine begin with this, and end as all others.
fn with_module(pipeline: &str) -> String {
    let module = "../wasm-filters/examples/keep-large/keep-large-c.wasm";
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(module);
    let step = format!("wasm: {{module: {}, params: {{bytes: {LONG}}}}}", module.display());
    let with = pipeline.replace("filter: body.level >= 2 # or a module", &step);
    assert_ne!(with, pipeline);
    with
}

/// Its module, compiled once for all machines.
fn filters(pipeline: &Pipeline) -> Filters {
    static FILTERS: OnceLock<Filters> = OnceLock::new();
    let load = || {
        let filters = Filters::load(pipeline, &RealDisk::new()).expect("the module is good");
        filters.on_one_thread()
    };
    FILTERS.get_or_init(load).clone()
}

/// A second sink, which every other machine has.
const LINES: &str = "  lines: {jsonl: {to: /lines, partition_by: [body.day], compression: zstd}}\n";

/// A third one, which every third machine has. It remembers nothing but parts, and merges them.
const SEARCH: &str = "  search: {index: {to: /search, mapping: {id: number, at: number}}}\n";

/// A mistake made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plant {
    /// The durable watermark rises without `fdatasync`.
    AnswerBeforeFdatasync,
    /// COMMITTED is appended before the parts it covers are visible.
    OffsetBeforeRename,
    /// COMMITTED passes messages whose letters are not appended yet.
    LetterNotAwaited,
    /// Recovery keeps the first records of an unfinished group.
    HalfGroupVisible,
    /// The index commits before the ledger has planned it.
    IndexBeforeLedger,
    /// What a module says of a batch is taken for what it says of the next one.
    VerdictsOfLastBatch,
}

/// What happened in some lives.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) power_cuts: u64,
    pub(crate) kills: u64,
    pub(crate) parts: u64,
    pub(crate) rows: u64,
    pub(crate) letters: u64,
    pub(crate) groups: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.power_cuts += other.power_cuts;
        self.kills += other.kills;
        self.parts += other.parts;
        self.rows += other.rows;
        self.letters += other.letters;
        self.groups += other.groups;
    }
}

/// One life of the machine: a pipeline from its first line to its last, through crashes.
pub(crate) fn live(seed: u64, plant: Option<Plant>) -> Result<Counts, String> {
    let mut odds = Odds(seed);
    let mut disk = SimDisk::new(seed);
    let mut input = write_input(&disk, &mut odds);
    input.sinks = match (seed.is_multiple_of(2), seed.is_multiple_of(3)) {
        (true, true) => &["lake", "lines", "search"],
        (true, false) => &["lake", "lines"],
        (false, true) => &["lake", "search"],
        (false, false) => &["lake"],
    };
    let lines = if input.sinks.contains(&"lines") { LINES } else { "" };
    let search = if input.sinks.contains(&"search") { SEARCH } else { "" };
    let mut text = format!("{PIPELINE}{lines}{search}");
    if seed.is_multiple_of(5) {
        text = with_module(&text);
    }
    let pipeline = pipeline(&text);
    let mut counts = Counts::default();
    let acknowledged = Rc::new(RefCell::new(Vec::new()));
    let sync = odds.below(2) == 0;
    fault::plant(match plant {
        Some(Plant::OffsetBeforeRename) => Some(fault::OFFSET_BEFORE_RENAME),
        Some(Plant::LetterNotAwaited) => Some(fault::LETTER_NOT_AWAITED),
        Some(Plant::VerdictsOfLastBatch) => Some(fault::VERDICTS_OF_LAST_BATCH),
        _ => None,
    });
    let crashes = 1 + odds.below(4);
    for crash in 0..=crashes {
        let last = crash == crashes;
        if !last {
            disk.cut_after(odds.below(180));
        }
        let done = start(&disk, &mut odds, &pipeline, sync, plant, &acknowledged, crash);
        let cut = disk.is_cut();
        match done {
            Ok(_) if last => {}
            // The cut was to come later than the end; then the process is killed.
            Ok(_) => {}
            Err(_) if cut => {}
            Err(error) => return Err(format!("a run failed by itself: {error}")),
        }
        if cut {
            counts.power_cuts += 1;
            disk = disk.power_cut();
        } else if !last {
            counts.kills += 1;
            disk = disk.kill();
        }
        judge::between(&disk, &input, &acknowledged.borrow())?;
    }
    fault::plant(None);
    let seen = judge::at_the_end(&disk, &input)?;
    counts.parts += seen.parts;
    counts.rows += seen.rows;
    counts.letters += seen.letters;
    counts.groups += acknowledged.borrow().len() as u64;
    Ok(counts)
}

/// Starts broker, pipeline and producer, and lets them run until the pipeline is done or fails.
fn start(
    disk: &SimDisk,
    odds: &mut Odds,
    pipeline: &Arc<Pipeline>,
    sync: bool,
    plant: Option<Plant>,
    acknowledged: &Rc<RefCell<Vec<u64>>>,
    crash: u64,
) -> Result<Summary, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    let seed = odds.next();
    runtime.block_on(async {
        let clock = SimClock(Instant::now());
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let core = core(&shared, &clock, sync, plant)?;
        let broker: Arc<dyn Broker> = Arc::new(core.local());
        let mut options = RunOptions::new(format!("sim-{crash}"));
        options.seed = seed;
        options.clock = Arc::new(clock);
        if pipeline.steps.iter().any(|step| matches!(step, StepSpec::Wasm(_))) {
            options.filters = filters(pipeline);
        }
        let mut connectors = connectors(&shared, seed);
        if plant == Some(Plant::IndexBeforeLedger) {
            connectors.sink = too_early(connectors.sink);
        }
        let run = Run::new(Arc::clone(pipeline), Arc::clone(&broker), connectors, options);
        let producer = produce(Arc::clone(&broker), Rc::clone(acknowledged), crash);
        tokio::select! {
            biased;
            done = run.finish() => done.map_err(|error| format!("{error:?}")),
            () = producer => Err("the producer gave up".to_owned()),
        }
    })
}

pub(super) fn pipeline(text: &str) -> Arc<Pipeline> {
    let parsed = Pipeline::parse("sim.yaml", text.as_bytes(), &|_| None);
    Arc::new(parsed.unwrap_or_else(|report| panic!("{report}")))
}

/// Opens the broker.
pub(super) fn core(
    disk: &Arc<dyn Disk>,
    clock: &SimClock,
    sync: bool,
    plant: Option<Plant>,
) -> Result<Core, String> {
    let interval = Duration::from_millis(20);
    let flush = if sync { FlushMode::Sync } else { FlushMode::Async { interval } };
    let store = StoreConfig {
        segment_bytes: 48 << 10,
        index_run_bytes: 32 << 10,
        flush,
        faults: Faults {
            skip_fsync: plant == Some(Plant::AnswerBeforeFdatasync),
            keep_half_groups: plant == Some(Plant::HalfGroupVisible),
            ..Faults::default()
        },
        ..StoreConfig::default()
    };
    let clock = clock.clone();
    let config = CoreConfig {
        store,
        flushing: Flushing::Manual,
        clock: Arc::new(move || clock.now()),
        ..CoreConfig::default()
    };
    let opened = Core::open(Arc::clone(disk), Path::new("/data"), config);
    Ok(opened.map_err(|error| error.to_string())?.0)
}

pub(super) fn connectors(disk: &Arc<dyn Disk>, seed: u64) -> Connectors {
    let mut odds = Odds(seed);
    let source_disk = Arc::clone(disk);
    let read_chunk = 256 + odds.below(4_000) as usize;
    let source = FileOptions {
        include: vec!["/in/lines.jsonl".into()],
        once: true,
        read_chunk,
        ..FileOptions::default()
    };
    let sink_disk = Arc::clone(disk);
    let rows = 5 + odds.below(40);
    Connectors {
        source: Some(Box::new(move |resume| {
            Ok(Box::new(FileSource::open(source_disk, source, resume)?))
        })),
        sink: Box::new(move |opening| {
            if opening.name == "search" {
                return index(&sink_disk, opening, rows);
            }
            let column = |name: &str, data_type| Column { name: name.into(), data_type };
            let columns = vec![
                column("id", DataType::Int),
                column("level", DataType::Int),
                column("at", DataType::Int),
            ];
            let format = match opening.name.as_str() {
                "lake" => Format::Parquet(ParquetFormat::default()),
                _ => Format::Jsonl(TextCompression::Zstd),
            };
            let to = format!("/{}", opening.name);
            let mut options = FilesOptions::new(to, Schema { columns }, &opening.parts, format);
            options.partition_by = vec!["day".into()];
            options.rotate.rows = Some(rows);
            options.metadata = Metadata::Offsets;
            options.worker_tag = opening.epoch;
            let disk = Arc::clone(&sink_disk);
            let sink = FilesSink::open(disk, options, opening.resume, opening.next_part_id)
                .map_err(|error| SinkError::Broken(Box::new(error)))?;
            Ok(Box::new(sink))
        }),
    }
}

/// An index of few documents to a part, so that there is something to merge.
fn index(
    disk: &Arc<dyn Disk>,
    opening: SinkOpening,
    rows: u64,
) -> Result<Box<dyn FileSink>, SinkError> {
    let field = |name: &str| MappedField { name: name.into(), kind: FieldKind::Int };
    let mapping = Mapping { fields: vec![field("id"), field("at")], time: None };
    let options = IndexOptions {
        worker_tag: opening.epoch,
        rotate: Rotate { rows: Some(rows.div_ceil(3)), every_ms: None },
        memory_bytes_max: 1 << 20,
        ..IndexOptions::new("/search", mapping, &opening.parts)
    };
    let sink = IndexSink::open(Arc::clone(disk), options, opening.resume, opening.next_part_id)
        .map_err(|error| SinkError::Broken(Box::new(error)))?;
    Ok(Box::new(sink))
}

/// An index that makes its parts visible when it plans them.
struct TooEarly(Box<dyn FileSink>);

fn too_early(mut open: OpenSink) -> OpenSink {
    Box::new(move |opening| {
        let is_index = opening.name == "search";
        let sink = open(opening)?;
        Ok(if is_index { Box::new(TooEarly(sink)) } else { sink })
    })
}

#[async_trait]
impl FileSink for TooEarly {
    async fn write(&mut self, batch: &Batch, now: Now) -> Result<Written, SinkError> {
        self.0.write(batch, now).await
    }

    async fn plan(&mut self, now: Now, cut: Cut) -> Result<Plan, SinkError> {
        let plan = self.0.plan(now, cut).await?;
        for part in &plan.parts {
            self.0.publish(part).await?;
        }
        Ok(plan)
    }

    async fn publish(&mut self, part: &Part) -> Result<Published, SinkError> {
        self.0.publish(part).await
    }

    async fn probe(&mut self, part: &Part) -> Result<PartState, SinkError> {
        self.0.probe(part).await
    }

    async fn abort(&mut self, part: &Part) -> Result<(), SinkError> {
        self.0.abort(part).await
    }

    async fn sweep(&mut self, planned: &[Part]) -> Result<(), SinkError> {
        self.0.sweep(planned).await
    }
}

/// Appends groups of three messages to three queues and notes which were promised to be durable.
async fn produce(broker: Arc<dyn Broker>, acknowledged: Rc<RefCell<Vec<u64>>>, crash: u64) {
    let topic = TopicName::parse("groups").expect("a legal name");
    if broker.ensure_topic(&topic, 3).await.is_err() {
        // The pipeline meets the same disk and says so.
        return std::future::pending().await;
    }
    for number in 0.. {
        let id = crash * 1_000_000 + number;
        let message = |queue| Outgoing {
            topic: topic.clone(),
            queue: QueueId(queue),
            body: Bytes::from(id.to_string().repeat(1 + (id % 40) as usize)),
            properties: Bytes::from(format!("group\x01{id}\x02")),
            born_at_ms: 0,
        };
        let messages = (0..3).map(message).collect();
        let append = Append { messages, fence: None, wait: Wait::Durable };
        match broker.append(append).await {
            Ok(_) => acknowledged.borrow_mut().push(id),
            Err(_) => return std::future::pending().await,
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

/// Writes the input, durably, and says what must become of each line.
pub(super) fn write_input(disk: &SimDisk, odds: &mut Odds) -> Expected {
    let mut expected = Expected::default();
    let mut text = String::new();
    for id in 0..150 + odds.below(250) {
        let at = text.len() as u64;
        let (day, level) = (odds.below(3), odds.below(5));
        if odds.below(40) == 0 {
            text.push_str(&format!("{{\"id\":{id:<LONG$},\"broken"));
            expected.letters.insert(at);
        } else {
            let long = if level >= 2 { LONG } else { 0 };
            let line =
                format!(r#"{{"id":{id:<long$},"day":"2026-01-0{}","level":{level}}}"#, day + 1);
            text.push_str(&line);
            if level >= 2 {
                expected.rows.insert(at, id);
            }
        }
        text.push('\n');
        expected.lines.insert(at);
    }
    let write = || -> std::io::Result<()> {
        disk.create_dir_durably(Path::new("/in"))?;
        let file = disk.create(Path::new("/in/lines.jsonl"))?;
        file.write_at(&[IoSlice::new(text.as_bytes())], 0)?;
        file.sync()?;
        disk.sync_dir(Path::new("/in"))
    };
    write().expect("the disk is still whole");
    expected
}

/// Time that passes only while everybody waits.
#[derive(Clone)]
pub(super) struct SimClock(pub(super) Instant);

impl Clock for SimClock {
    fn now(&self) -> Now {
        let mono_ms = self.0.elapsed().as_millis() as u64;
        Now { mono_ms, wall_ms: 1_700_000_000_000 + mono_ms as i64 }
    }
}

pub(super) struct Odds(pub(super) u64);

impl Odds {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}
