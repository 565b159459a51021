use millrace_client::Wait;
use millrace_connect_api::{Cut, Part, Plan, Refused, Resume};
use tracing::info;

use super::letters::Posted;
use super::{COMMIT_MS, Delivery};
use crate::error::RunError;
use crate::fault;
use crate::ledger::{Committed, CommittedPart, OffsetSet, Offsets, Planned, PlannedPart, Record};

impl Delivery {
    /// Makes the parts visible that are due, and moves the offsets.
    pub(super) async fn commit(&mut self, cut: Cut) -> Result<(), RunError> {
        let Plan { parts, resume } = self.sink().plan(cut).await?;
        if parts.is_empty() {
            let is_due = match cut {
                Cut::All => true,
                Cut::Due => self.link.now().mono_ms >= self.committed_at_ms + COMMIT_MS,
            };
            if is_due && resume != self.committed {
                self.record(&[], resume, Vec::new()).await?;
            }
            return Ok(());
        }
        fault::point("before-planned")?;
        let planned = Record::Planned(Planned {
            sink: self.name.clone(),
            parts: parts.iter().map(PlannedPart::new).collect(),
            resume: Offsets::new(&resume),
            pipeline: format!("{:016x}", self.fingerprint),
            letters: OffsetSet::default(),
        });
        // Durable: what is visible must never have come from messages that a power cut took.
        self.ledger.append_records(vec![planned], Wait::Durable).await?;
        fault::point("after-planned")?;
        if fault::planted(fault::OFFSET_BEFORE_RENAME) {
            self.record(&parts, resume.clone(), Vec::new()).await?;
        }
        let mut refused = Vec::new();
        for part in &parts {
            fault::point("before-publish")?;
            refused.extend(self.sink().publish(part).await?.refused);
            fault::point("after-publish")?;
        }
        self.letters.judge_refused(&refused)?;
        fault::point("before-committed")?;
        self.record(&parts, resume, refused).await?;
        fault::point("after-committed")
    }

    /// Appends COMMITTED, with the letters of what the destination refused, and shows the offsets
    /// to tools.
    ///
    /// These letters are in the same group as the COMMITTED: after a crash between sending and
    /// COMMITTED a bulk has to be made of the same messages again, and what is a letter is not sent.
    async fn record(
        &mut self,
        parts: &[Part],
        resume: Resume,
        refused: Vec<Refused>,
    ) -> Result<(), RunError> {
        let window = self.lookback.as_mut().map(|lookback| lookback.needed(&resume.next));
        let committed = Record::Committed(Committed {
            sink: self.name.clone(),
            parts: parts.iter().map(CommittedPart::new).collect(),
            resume: Offsets::new(&resume),
            layout: self.layout.clone(),
            window: window.unwrap_or_default(),
            letters: OffsetSet::default(),
        });
        let Posted { letters, mut records, counts } = self.letters.of_refused(&refused);
        records.push(committed);
        self.ledger.append(&letters.into(), records, Wait::Policy).await?;
        let (rows, bytes) =
            parts.iter().fold((0, 0), |(rows, bytes), part| (rows + part.rows, bytes + part.bytes));
        if !parts.is_empty() {
            info!(sink = %self.name, parts = parts.len(), rows, bytes, "parts committed");
        }
        let rows = rows - refused.len() as u64;
        let makes_files = self.sink.makes_files();
        self.progress.sink(&self.name, |sink| {
            *(if makes_files { &mut sink.files } else { &mut sink.bulks }) += parts.len() as u64;
            sink.written -= refused.len() as u64;
            for (code, count) in counts {
                *sink.dead_lettered.entry(code).or_default() += count;
            }
            sink.visible_rows += rows;
            sink.visible_bytes += bytes;
        });
        for (queue, next) in &resume.next {
            if self.committed.next.get(queue) != Some(next) {
                self.link.show_offset(&self.group, queue, *next).await;
            }
            self.letters.forget(queue, *next);
        }
        self.committed = resume;
        self.committed_at_ms = self.link.now().mono_ms;
        Ok(())
    }
}
