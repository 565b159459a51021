//! `millrace inspect`: what lies in a data directory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use millrace_disk::RealDisk;
use millrace_server::StateInspection;
use millrace_store::{
    InspectedRecord, Inspection, MissingBytes, MissingMessages, QueueInspection, TornCopy, inspect,
};
use serde_json::{Value, json};

use crate::causes::open_store;
use crate::exit::{Exit, Failure, codes};
use crate::figures::{bytes, count, counted};
use crate::ledgers::Ledgers;
use crate::letters::Letters;
use crate::output::{self, Answer};
use crate::own_state;
use crate::salvage::Salvage;

/// Read and verify a whole data directory, and tell what is in it.
///
/// Nothing is changed and no lock is taken, so a directory in use can be looked at; its newest
/// messages may then be missing. Exit code 4 says that messages or whole files of the log are
/// damaged or missing. Bytes behind the end of the log are no damage; the next start copies them to
/// `torn` before it cuts them off, and each copy is a data directory that this reads.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// The data directory.
    dir: PathBuf,
    /// Tell about this topic only.
    #[arg(long)]
    topic: Option<String>,
    /// Print nothing but the bodies of the topic's messages, one per line, in the order of the
    /// log.
    #[arg(long, requires = "topic", conflicts_with = "json")]
    bodies: bool,
    /// Also write every record that verifies to this new file, one JSON object per line, with its
    /// queue, offsets, times, properties and body. Records behind damage are among them.
    #[arg(long, value_name = "FILE")]
    salvage: Option<PathBuf>,
    /// Answer in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// So many gaps of one queue are listed for a person; a program is told all.
const GAPS_SHOWN: usize = 20;

/// The messages of one topic, all queues together.
#[derive(Default)]
struct Topic<'a> {
    queues: Vec<(u32, &'a QueueInspection)>,
    sum: QueueInspection,
}

impl Inspect {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        check_is_data_dir(&self.dir)?;
        let mut ledgers = Ledgers::default();
        let mut letters = Letters::default();
        let mut state = StateInspection::default();
        let mut bodies = Vec::new();
        let mut records = 0_u64;
        let mut salvage = self.salvage.as_deref().map(Salvage::create).transpose()?;
        let mut record = |record: InspectedRecord<'_>| {
            records += 1;
            if let Some(salvage) = &mut salvage
                && self.wants(record.topic)
            {
                salvage.take(&record);
            }
            ledgers.take(&record);
            letters.take(&record);
            state.take(&record.record);
            if self.bodies && self.wants(record.topic) {
                bodies.extend_from_slice(record.body);
                bodies.push(b'\n');
                if bodies.len() >= 1 << 20 {
                    output::print_bytes(&bodies);
                    bodies.clear();
                }
            }
        };
        let found = inspect(&RealDisk::new(), &self.dir, &mut record)
            .map_err(|error| open_store(&error).caused_by(&error))?;
        if !found.ours && records == 0 && found.torn_bytes > 0 {
            return Err(not_a_log(&self.dir));
        }
        output::print_bytes(&bodies);
        let salvaged = salvage.map(Salvage::finish).transpose()?;

        let topics = topics(&found);
        let trouble = trouble(&found, &topics);
        let exit = if trouble.is_empty() { Exit::Done } else { Exit::No };
        let mut summary = match exit {
            Exit::Done => healthy(&found, &topics),
            _ => trouble.join("; "),
        };
        summary += &torn(&found.torn_copies).unwrap_or_default();
        let shown: BTreeMap<_, _> =
            topics.into_iter().filter(|(name, _)| self.wants(name)).collect();
        let text = if self.bodies {
            String::new()
        } else {
            self.table(&found, &shown, &state, &ledgers, &letters) + &summary + "\n"
        };
        if self.bodies && exit == Exit::No {
            output::complain(&format!("{summary}\n"));
        }
        let mut result = self.result(&found, &shown, &state, &ledgers, &letters);
        if let Some(salvaged) = salvaged {
            result["salvaged"] = json!(salvaged);
            output::complain(&format!("{} salvaged\n", counted(salvaged, "record")));
        }
        Ok(Answer { exit, summary, text, result })
    }

    fn wants(&self, topic: &str) -> bool {
        self.topic.as_ref().is_none_or(|wanted| wanted == topic)
    }

    fn table(
        &self,
        found: &Inspection,
        topics: &BTreeMap<&str, Topic<'_>>,
        state: &StateInspection,
        ledgers: &Ledgers,
        letters: &Letters,
    ) -> String {
        let mut out = String::new();
        let is_served = is_locked(&self.dir.join("lock"));
        let mut line = |text: String| {
            out.push_str(&text);
            out.push('\n');
        };
        line(format!("directory  {}", self.dir.display()));
        let size: u64 = found.segments.iter().map(|segment| segment.len).sum();
        let start = found.segments.first().map_or(0, |segment| segment.base.0);
        line(format!(
            "log        physical offsets {start} to {} in {} of {} together",
            found.end,
            counted(found.segments.len() as u64, "segment"),
            bytes(size)
        ));
        if found.body_only > 0 {
            line(format!(
                "checksums  {} by their body only, the others whole",
                counted(found.body_only, "record")
            ));
        }
        line(match (found.ours, found.clean) {
            (false, _) => "durable    written by Apache RocketMQ, which does not say".to_owned(),
            (true, true) => format!("durable    at least to {}; closed properly", found.durable),
            (true, false) if is_served => {
                format!("durable    at least to {}; a broker is running on it", found.durable)
            }
            (true, false) => {
                format!("durable    at least to {}; not closed: in use, or killed", found.durable)
            }
        });
        for damage in &found.damage {
            line(format!("damage     {} to {}: {}", damage.from, damage.to, damage.reason));
        }
        for missing in &found.missing {
            line(format!("missing    {} to {}: {}", missing.from, missing.to, where_from(missing)));
        }
        if found.torn_bytes > 0 || found.unfinished_records > 0 {
            let what = match is_served {
                true => "the broker is just writing them",
                false => "the next start cuts them off",
            };
            line(format!(
                "tail       {} behind the end and {} of an unfinished group; {what}",
                counted(found.torn_bytes, "byte"),
                counted(found.unfinished_records as u64, "record"),
            ));
        }
        for TornCopy { path, bytes, records } in &found.torn_copies {
            let records = match records {
                Some(records) => counted(*records, "whole record"),
                None => "not readable as a log".to_owned(),
            };
            line(format!("cut off    {}: {}, {records}", path.display(), counted(*bytes, "byte")));
        }
        if self.topic.is_none() {
            out.push_str(&own_state::text(state, state.next_removal(&found.segments).as_ref()));
        }
        for (name, topic) in topics {
            out.push_str(&topic.gaps(name));
        }
        out.push('\n');
        out.push_str(&table(topics));
        if self.topic.is_none() {
            out.push_str(&ledgers.text());
            out.push_str(&letters.text());
        }
        out.push('\n');
        out
    }

    fn result(
        &self,
        found: &Inspection,
        topics: &BTreeMap<&str, Topic<'_>>,
        state: &StateInspection,
        ledgers: &Ledgers,
        letters: &Letters,
    ) -> Value {
        let segments: Vec<Value> =
            found.segments.iter().map(|s| json!({"base": s.base.0, "len": s.len})).collect();
        let damage: Vec<Value> = found
            .damage
            .iter()
            .map(|d| json!({"from": d.from.0, "to": d.to.0, "reason": d.reason}))
            .collect();
        let missing: Vec<Value> = found.missing.iter().map(missing_result).collect();
        let (missing_messages, is_exact) = match found.missing_messages {
            Some(MissingMessages::Exactly(messages)) => (Some(messages), true),
            Some(MissingMessages::AtMost(messages)) => (Some(messages), false),
            None => (found.missing.is_empty().then_some(0), found.missing.is_empty()),
        };
        let topics: BTreeMap<&str, Value> =
            topics.iter().map(|(name, topic)| (*name, topic.result())).collect();
        let mut result = json!({
            "dir": self.dir.display().to_string(),
            "segments": segments,
            "end": found.end.0,
            "durable": found.durable.0,
            "clean": found.clean,
            "written_by": if found.ours { "Millrace" } else { "Apache RocketMQ" },
            "verified_by_body_only": found.body_only,
            "damage": damage,
            "missing": missing,
            "missing_messages": missing_messages,
            "missing_messages_exact": is_exact,
            "torn_bytes": found.torn_bytes,
            "unfinished_records": found.unfinished_records,
            "torn": found.torn_copies.iter().map(torn_result).collect::<Vec<_>>(),
            "topics": topics,
        });
        if self.topic.is_none() {
            let next = state.next_removal(&found.segments);
            result["broker"] = own_state::result(state, next.as_ref());
            result["pipelines"] = ledgers.result();
            result["dead_letters"] = letters.result();
        }
        result
    }
}

/// `inspect` reads an empty or foreign directory as an empty log, which would be no answer to
/// somebody who mistyped it.
pub(crate) fn check_is_data_dir(dir: &Path) -> Result<(), Failure> {
    if dir.join("commitlog").is_dir() {
        return Ok(());
    }
    let wrong = |message: String| Failure::new(Exit::Input, codes::DATA_FORMAT, message);
    let shown = dir.display();
    if !dir.is_dir() {
        return Err(wrong(format!("there is no directory {shown}")));
    }
    let failure = wrong(format!("{shown} is not a data directory: it has no commitlog"));
    // `torn` has one for each time that a start has cut the end off.
    let inside = newest_inside(dir).unwrap_or_else(|| dir.join("data"));
    Err(if inside.join("commitlog").is_dir() {
        failure.hint(format!("did you mean {}?", inside.display()))
    } else {
        failure
    })
}

fn newest_inside(torn: &Path) -> Option<PathBuf> {
    let inside = std::fs::read_dir(torn).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    inside.filter(|path| torn.ends_with("torn") && path.join("commitlog").is_dir()).max()
}

fn not_a_log(dir: &Path) -> Failure {
    let shown = dir.display();
    let message = format!(
        "{shown} has a CommitLog that neither Millrace nor Apache RocketMQ wrote: there is no \
         {shown}/format, and nothing in the log is a message"
    );
    Failure::new(Exit::Environment, codes::DATA_FORMAT, message)
}

/// What became of the file in which missing bytes were.
fn where_from(missing: &MissingBytes) -> String {
    let segment = missing.segment.display();
    match missing.is_cut {
        true => format!("{segment} was cut short"),
        false => format!("the segment {segment} is missing"),
    }
}

fn missing_result(missing: &MissingBytes) -> Value {
    let segment = missing.segment.display().to_string();
    json!({
        "from": missing.from.0,
        "to": missing.to.0,
        "bytes": missing.to.since(missing.from),
        "segment": (!missing.is_cut).then_some(&segment),
        "cut_short": missing.is_cut.then_some(&segment),
    })
}

/// What earlier starts have cut off, for the end of a line.
fn torn(copies: &[TornCopy]) -> Option<String> {
    let last = copies.last()?;
    let records = counted(copies.iter().filter_map(|copy| copy.records).sum(), "whole record");
    let others = match copies.len() - 1 {
        0 => String::new(),
        more => format!(" and {more} more beside it"),
    };
    Some(format!(
        "; earlier starts have cut off the end of the log, with {records}: `millrace inspect {}`\
         {others}",
        last.path.display()
    ))
}

fn torn_result(copy: &TornCopy) -> Value {
    json!({
        "dir": copy.path.display().to_string(),
        "bytes": copy.bytes,
        "records": copy.records,
    })
}

/// All that is in no file, in one line.
fn missing(found: &Inspection) -> Option<String> {
    let first = found.missing.first()?;
    let all: u64 = found.missing.iter().map(|missing| missing.to.since(missing.from)).sum();
    let elsewhere = match found.missing.len() - 1 {
        0 => String::new(),
        more => format!(", and {} more", counted(more as u64, "stretch")),
    };
    let messages = match found.missing_messages {
        Some(MissingMessages::Exactly(messages)) => {
            format!(" and {}", counted(messages, "message"))
        }
        Some(MissingMessages::AtMost(messages)) => {
            format!(" and at most {}", counted(messages, "message"))
        }
        None => String::new(),
    };
    let bytes = counted(all, "byte");
    Some(format!("{}{elsewhere}: {bytes}{messages} are not there", where_from(first)))
}

fn topics(found: &Inspection) -> BTreeMap<&str, Topic<'_>> {
    let mut topics: BTreeMap<&str, Topic<'_>> = BTreeMap::new();
    for ((name, queue), inspected) in &found.queues {
        let topic = topics.entry(name).or_default();
        topic.queues.push((queue.0, inspected));
        let sum = &mut topic.sum;
        sum.messages += inspected.messages;
        sum.lost += inspected.lost;
        sum.out_of_order += inspected.out_of_order;
        sum.body_bytes += inspected.body_bytes;
        sum.body_crc_sum = sum.body_crc_sum.wrapping_add(inspected.body_crc_sum);
    }
    topics
}

impl Topic<'_> {
    /// One line for each stretch of offsets that no message has.
    fn gaps(&self, name: &str) -> String {
        let mut out = String::new();
        for (queue, inspected) in &self.queues {
            for (from, to) in inspected.gaps.iter().take(GAPS_SHOWN) {
                let _ = writeln!(out, "lost       {name}/{queue} {from} to {to}");
            }
            if let Some(more) = inspected.gaps.len().checked_sub(GAPS_SHOWN).filter(|n| *n > 0) {
                let _ = writeln!(out, "lost       {name}/{queue}, {more} gaps more");
            }
        }
        out
    }

    fn result(&self) -> Value {
        let queues: Vec<Value> = self
            .queues
            .iter()
            .map(|(queue, inspected)| {
                let mut result = counts(inspected);
                result["queue"] = json!(queue);
                result["min"] = json!(inspected.min.0);
                result["end"] = json!(inspected.end.0);
                let gaps = inspected.gaps.iter().map(|(from, to)| [from.0, to.0]);
                result["lost_offsets"] = json!(gaps.collect::<Vec<_>>());
                result
            })
            .collect();
        let mut result = counts(&self.sum);
        result["queues"] = json!(queues);
        result
    }
}

fn counts(inspected: &QueueInspection) -> Value {
    json!({
        "messages": inspected.messages,
        "lost": inspected.lost,
        "out_of_order": inspected.out_of_order,
        "body_bytes": inspected.body_bytes,
        "body_crc_sum": inspected.body_crc_sum,
    })
}

/// What is not as it was written, if anything.
fn trouble(found: &Inspection, topics: &BTreeMap<&str, Topic<'_>>) -> Vec<String> {
    let mut trouble = Vec::from_iter(missing(found));
    if !found.damage.is_empty() {
        trouble
            .push(format!("the log is damaged at {}", counted(found.damage.len() as u64, "place")));
    }
    for (name, topic) in topics {
        if topic.sum.lost > 0 {
            trouble.push(format!("{name} lacks {}", counted(topic.sum.lost, "message")));
        }
        if topic.sum.out_of_order > 0 {
            let records = counted(topic.sum.out_of_order, "record");
            trouble.push(format!("{name} has {records} out of order"));
        }
    }
    trouble
}

fn healthy(found: &Inspection, topics: &BTreeMap<&str, Topic<'_>>) -> String {
    let messages = topics.values().map(|topic| topic.sum.messages).sum();
    format!(
        "healthy: {} in {}, {} of log",
        counted(messages, "message"),
        counted(topics.len() as u64, "topic"),
        bytes(found.end.0 - found.segments.first().map_or(0, |segment| segment.base.0))
    )
}

fn table(topics: &BTreeMap<&str, Topic<'_>>) -> String {
    let header = ["topic", "queue", "messages", "first", "end", "lost", "body bytes", "crc sum"];
    let mut rows = vec![header.map(str::to_owned)];
    for (name, topic) in topics {
        for (queue, inspected) in &topic.queues {
            rows.push([
                (*name).to_owned(),
                queue.to_string(),
                count(inspected.messages),
                count(inspected.min.0),
                count(inspected.end.0),
                count(inspected.lost),
                count(inspected.body_bytes),
                inspected.body_crc_sum.to_string(),
            ]);
        }
    }
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..header.len()).map(|column| width(column).unwrap_or(0)).collect();
    let mut out = String::new();
    for row in &rows {
        let (name, numbers) = row.split_at(1);
        let _ = write!(out, "{:<width$}", name[0], width = widths[0]);
        for (number, width) in numbers.iter().zip(&widths[1..]) {
            let _ = write!(out, "  {number:>width$}");
        }
        out.push('\n');
    }
    out
}

/// Whether a process holds a lock on a file. It is looked up and not tried, because a lock that is
/// held for a moment would be in the way of a broker that starts; where the system does not tell,
/// the answer is no.
fn is_locked(path: &Path) -> bool {
    let (Ok(file), Ok(locks)) = (fs::metadata(path), fs::read_to_string("/proc/locks")) else {
        return false;
    };
    let (major, minor) = (rustix::fs::major(file.dev()), rustix::fs::minor(file.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", file.ino());
    locks.lines().any(|lock| lock.split_whitespace().any(|word| word == place))
}
