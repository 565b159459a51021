//! What a module answered, read from its memory. Nothing in it is trusted.

use crate::decisions::{Decisions, Output, Properties, Verdict};
use crate::error::Fault;
use crate::limits::Limits;
use crate::manifest::Kind;

/// What the host writes before a call; whoever leaves it there has not decided.
pub(crate) const UNDECIDED: u8 = 0xff;

const DROP: u8 = 0;
const KEEP: u8 = 1;
const REPLACE: u8 = 2;
const ERROR: u8 = 3;
const RETRY: u8 = 4;

/// Bytes of what the module fills in for `mr_map`: address and number of the verdicts, of the
/// outputs and of the errors, then room for what later versions add.
pub(crate) const OUT_BYTES: usize = 48;
const OUTPUT_BYTES: usize = 48;
const ERROR_BYTES: usize = 16;

const HAS_KEY: u32 = 1;
const HAS_BODY: u32 = 1 << 1;
const PROPERTIES_INSTEAD: u32 = 1 << 2;
const PROPERTIES_BESIDE: u32 = 1 << 3;
const HAS_TOPIC: u32 = 1 << 4;

/// Where an answer is read from, and whom it concerns.
pub(crate) struct Answer<'a> {
    pub(crate) memory: &'a [u8],
    /// The numbers of the records, in the order in which the module saw them.
    pub(crate) rows: &'a [u32],
    /// What the module said about records that it refused.
    pub(crate) reasons: &'a [(Option<u32>, String)],
    pub(crate) kind: Kind,
    pub(crate) limits: &'a Limits,
}

impl Answer<'_> {
    /// Reads the verdicts of `mr_filter`, of which `kept` says how many are to keep.
    pub(crate) fn of_filter(
        &self,
        verdicts_at: u32,
        kept: u32,
        decisions: &mut Decisions,
    ) -> Result<(), Fault> {
        let bytes = self.part(verdicts_at, self.rows.len(), "verdicts")?;
        let marked = bytes.iter().filter(|verdict| **verdict == KEEP).count();
        if marked != kept as usize {
            return Err(broken(format!("it says it kept {kept} records, and marked {marked}")));
        }
        if bytes.iter().all(|verdict| matches!(*verdict, DROP | KEEP)) {
            // What most answers are.
            decisions.set_kept(self.rows, bytes.iter().map(|verdict| *verdict == KEEP));
            return Ok(());
        }
        let verdict = |(number, byte): (usize, &u8)| match *byte {
            REPLACE => Err(broken(format!("it replaces record {number}, which filters do not"))),
            byte => verdict_of(number, byte, || self.reason(number as u32)),
        };
        let verdicts = bytes.iter().enumerate().map(verdict).collect::<Result<Vec<_>, _>>()?;
        decisions.set_all(self.rows, verdicts);
        Ok(())
    }

    /// Reads what `mr_map` filled in at `out_at`. Outputs are copied when all of it is known to be
    /// good: no tick counts meanwhile, and a module may give the same large answer again and again.
    pub(crate) fn of_map(&self, out_at: u32, decisions: &mut Decisions) -> Result<(), Fault> {
        let out = self.part(out_at, OUT_BYTES, "output")?;
        let bytes = self.part(word(out, 0), self.rows.len(), "verdicts")?;
        if word(out, 1) as usize != self.rows.len() {
            let (given, due) = (word(out, 1), self.rows.len());
            return Err(broken(format!("it gives {given} verdicts on {due} records")));
        }
        let (outputs, counts) = self.outputs(word(out, 2), word(out, 3))?;
        let errors = self.errors(word(out, 4), word(out, 5))?;
        let verdict = |(number, byte): (usize, &u8)| {
            self.check_count(number, *byte, counts[number])?;
            let text = || self.error_text(errors[number]?);
            verdict_of(number, *byte, || text().unwrap_or_else(|| self.reason(number as u32)))
        };
        let verdicts = bytes.iter().enumerate().map(verdict).collect::<Result<Vec<_>, _>>()?;
        outputs.iter().for_each(|output| decisions.push_output(output));
        decisions.set_all(self.rows, verdicts);
        Ok(())
    }

    fn check_count(&self, number: usize, verdict: u8, count: usize) -> Result<(), Fault> {
        match (verdict, count) {
            (REPLACE, 0) if self.kind != Kind::FlatMap => {
                Err(broken(format!("it replaces record {number} and gives nothing for it")))
            }
            (REPLACE, _) | (_, 0) => Ok(()),
            _ => {
                Err(broken(format!("it gives an output for record {number} without replacing it")))
            }
        }
    }

    /// The outputs, and how many there are for each record.
    fn outputs(&self, at: u32, count: u32) -> Result<(Vec<Output<'_>>, Vec<usize>), Fault> {
        let max = match self.kind {
            Kind::FlatMap => self.limits.outputs_max,
            Kind::Filter | Kind::Map | Kind::Aggregate => 1,
        };
        let mut outputs = Vec::new();
        let mut counts = vec![0; self.rows.len()];
        let mut bytes_left = self.limits.output_bytes_max;
        let mut last = 0;
        for output in self.array(at, count, OUTPUT_BYTES, "outputs")?.chunks_exact(OUTPUT_BYTES) {
            let source = word(output, 0);
            let count = counts.get_mut(source as usize).filter(|_| source >= last);
            let count = count.ok_or_else(|| broken("its outputs are not in order of records"))?;
            *count += 1;
            if *count > max {
                return Err(broken(format!("it makes more than {max} of record {source}")));
            }
            last = source;
            outputs.push(self.output(output, self.rows[source as usize], &mut bytes_left)?);
        }
        Ok((outputs, counts))
    }

    fn output(
        &self,
        output: &[u8],
        record: u32,
        bytes_left: &mut usize,
    ) -> Result<Output<'_>, Fault> {
        let flags = word(output, 1);
        if flags & HAS_TOPIC != 0 {
            return Err(broken("it sends a record to another topic, which is not available yet"));
        }
        let mut part = |wanted: bool, field: usize, what: &str| {
            if !wanted {
                return Ok(None);
            }
            let (at, len) = (word(output, field), word(output, field + 1) as usize);
            *bytes_left = bytes_left.checked_sub(len).ok_or_else(|| {
                let max = self.limits.output_bytes_max;
                broken(format!("it puts out more than {max} bytes in one call"))
            })?;
            self.part(at, len, what).map(Some)
        };
        let key = part(flags & HAS_KEY != 0, 2, "key")?;
        let body = part(flags & HAS_BODY != 0, 4, "body")?;
        let instead = flags & PROPERTIES_INSTEAD != 0;
        let given = instead || flags & PROPERTIES_BESIDE != 0;
        let properties = part(given, 6, "properties")?.map(|properties| match instead {
            true => Properties::Instead(properties),
            false => Properties::Beside(properties),
        });
        Ok(Output { record, key, body, properties })
    }

    /// The first error on each record.
    fn errors(&self, at: u32, count: u32) -> Result<Vec<Option<&[u8]>>, Fault> {
        let records = self.rows.len();
        if count as usize > records {
            return Err(broken(format!("it gives {count} errors on {records} records")));
        }
        let mut errors = vec![None; self.rows.len()];
        for error in self.array(at, count, ERROR_BYTES, "errors")?.chunks_exact(ERROR_BYTES) {
            if let Some(first) = errors.get_mut(word(error, 0) as usize) {
                first.get_or_insert(error);
            }
        }
        Ok(errors)
    }

    fn error_text(&self, error: &[u8]) -> Option<String> {
        let text = self.part(word(error, 2), word(error, 3) as usize, "error text").ok()?;
        Some(crate::state::shortened(text))
    }

    /// Why the module refused a record, as far as it says so.
    fn reason(&self, record: u32) -> String {
        let of_record = self.reasons.iter().find(|(known, _)| *known == Some(record));
        let alone = || self.reasons.iter().find(|_| self.rows.len() == 1);
        match of_record.or_else(alone) {
            Some((_, reason)) => reason.clone(),
            None => "it gives no reason".to_owned(),
        }
    }

    fn array(&self, at: u32, count: u32, size: usize, what: &str) -> Result<&[u8], Fault> {
        let len = (count as usize).checked_mul(size);
        let len = len.ok_or_else(|| broken(format!("its {what} are too many")))?;
        self.part(at, len, what)
    }

    fn part(&self, at: u32, len: usize, what: &str) -> Result<&[u8], Fault> {
        let end = (at as usize).checked_add(len);
        let part = end.and_then(|end| self.memory.get(at as usize..end));
        part.ok_or_else(|| {
            broken(format!("its {what}, {len} bytes at {at}, lie outside of its memory"))
        })
    }
}

fn verdict_of(number: usize, byte: u8, reason: impl Fn() -> String) -> Result<Verdict, Fault> {
    Ok(match byte {
        DROP => Verdict::Drop,
        KEEP => Verdict::Keep,
        REPLACE => Verdict::Replace,
        ERROR => Verdict::Failed(Box::new(Fault::Refused(reason()))),
        RETRY => {
            let text = "it asks for the record to come again, which is not available yet";
            Verdict::Failed(Box::new(Fault::Contract(text.to_owned())))
        }
        UNDECIDED => return Err(broken(format!("it gives no verdict on record {number}"))),
        other => return Err(broken(format!("it gives the verdict {other} on record {number}"))),
    })
}

fn broken(reason: impl Into<String>) -> Fault {
    Fault::Contract(reason.into())
}

/// Word number `index` of a structure that is known to have it.
fn word(bytes: &[u8], index: usize) -> u32 {
    let at = 4 * index;
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
