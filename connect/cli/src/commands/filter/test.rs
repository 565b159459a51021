use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use millrace_config::{FilterRecord, FilterTest, FilterTests, FilterVerdict};
use millrace_types::{PropertiesBuf, java_hash, keys};
use millrace_wasm_host::{Batch, Filter, Module, Record, Verdict};
use serde_json::{Value, json};

use super::{load, unread};
use crate::exit::{Exit, Failure, codes};
use crate::figures::counted;
use crate::output::{Answer, print};
use crate::pipeline_file::{environment, from_all, from_reports};

/// Run the tests of modules: which verdict each has to give on which record.
///
/// A file of tests lies beside its module. `expect` is `keep`, `drop`, `replace` (with the bodies in
/// `with`) or `fail` (with a part of the reason in `error`). The records are given to the module at
/// once, and then one by one: that must make no difference. Exit code 4 if a test fails, and 2 if a
/// file or its module cannot be used; the tests of the others run all the same.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Test {
    /// Files of tests.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Only tests whose names contain this.
    #[arg(short = 'k', long = "name", value_name = "TEXT")]
    name: Option<String>,
}

const AFTER_HELP: &str = "\
A file of tests, for instance my-filter.tests.yaml:
  module: my-filter.wasm
  tests:
    - name: only what is urgent goes on
      params: {words: [now]}
      records:
        - {body: {note: do it now}, expect: keep}
        - {body: {note: later}, props: {region: eu}, expect: drop}
        - {raw: no JSON, expect: fail}";

/// What a module said about a record.
#[derive(Clone, Debug, PartialEq)]
enum Said {
    Keep,
    Drop,
    Replace(Vec<String>),
    Fail(String),
}

impl Test {
    pub(super) fn execute(&self, is_json: bool) -> Result<Answer, Failure> {
        let (mut text, mut results, mut failed) = (String::new(), Vec::new(), 0);
        let mut failures = Vec::new();
        for path in &self.files {
            let (module, tests) = match read(path) {
                Ok(read) => read,
                Err(failure) => {
                    let _ = writeln!(text, "FAIL {}: cannot be tested", path.display());
                    let error = json!({"code": failure.code, "message": failure.message});
                    results.push(json!({"file": path, "ok": false, "error": error}));
                    failures.push(failure);
                    continue;
                }
            };
            for test in tests.iter().filter(|test| self.means(test)) {
                let complaints = complaints(&module, test);
                let word = if complaints.is_empty() { "ok  " } else { "FAIL" };
                failed += usize::from(!complaints.is_empty());
                let _ = writeln!(text, "{word} {}: {}", path.display(), test.name);
                for complaint in &complaints {
                    let _ = writeln!(text, "     {complaint}");
                }
                results.push(json!({
                    "file": path,
                    "name": test.name,
                    "ok": complaints.is_empty(),
                    "complaints": complaints,
                }));
            }
        }
        if results.is_empty() {
            let message = "there is no such test in these files";
            return Err(Failure::new(Exit::Input, codes::TEST, message)
                .hint("`millrace filter test --help` shows how to write some"));
        }
        let ran = results.len() - failures.len();
        let tests = counted(ran as u64, "test");
        let mut summary = format!("{tests}: {} passed, {failed} failed", ran - failed);
        if !failures.is_empty() {
            let broken = counted(failures.len() as u64, "file");
            summary.push_str(&format!("; {broken} cannot be tested"));
        }
        let _ = writeln!(text, "{summary}");
        if !failures.is_empty() {
            if ran > 0 && !is_json {
                print(&text);
            }
            let mut failure = from_all(failures);
            failure.result = Value::Array(results);
            return Err(failure);
        }
        let exit = if failed == 0 { Exit::Done } else { Exit::No };
        Ok(Answer { exit, summary, text, result: Value::Array(results) })
    }

    fn means(&self, test: &FilterTest) -> bool {
        self.name.as_deref().is_none_or(|part| test.name.contains(part))
    }
}

/// A file of tests, and the module that it names.
fn read(path: &Path) -> Result<(Arc<Module>, Vec<FilterTest>), Failure> {
    let bytes = fs::read(path).map_err(|error| unread(path, &error))?;
    let parsed = FilterTests::parse(&path.display().to_string(), &bytes, &environment);
    let FilterTests { module, tests } = parsed.map_err(|report| match is_pipeline(&bytes) {
        true => pipeline(path),
        false => from_reports(vec![report]),
    })?;
    Ok((load(&path.parent().unwrap_or(Path::new("")).join(module))?, tests))
}

/// Whether a file that holds no tests of a module has the name of a pipeline.
fn is_pipeline(bytes: &[u8]) -> bool {
    bytes.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"pipeline:"))
}

fn pipeline(path: &Path) -> Failure {
    let message = format!("{} is a pipeline, and no file of tests of a module", path.display());
    let tests = path.with_extension("tests.yaml");
    let hint = match tests.is_file() {
        true => format!("you may mean `millrace filter test {}`", tests.display()),
        false => "`millrace filter test --help` shows a file of tests".to_owned(),
    };
    let path = path.display();
    Failure::new(Exit::Input, codes::ARGUMENT, message)
        .hint(format!("{hint}; the pipeline's own tests run with `millrace test {path}`"))
}

/// What is not as the test says.
fn complaints(module: &Arc<Module>, test: &FilterTest) -> Vec<String> {
    let properties: Vec<PropertiesBuf> = test.records.iter().map(properties).collect();
    let records: Vec<Record<'_>> = test
        .records
        .iter()
        .zip(&properties)
        .enumerate()
        .map(|(number, (given, properties))| Record {
            queue_offset: number as i64,
            key: given.key.as_deref().map(str::as_bytes),
            body: given.body.as_bytes(),
            properties: properties.as_bytes(),
            tag_hash: given.tag.as_deref().map_or(0, |tag| java_hash(tag) as u32),
            ..Record::default()
        })
        .collect();
    let together = match said(module, test, &records) {
        Ok(said) => said,
        Err(reason) => return vec![reason],
    };
    let mut complaints = Vec::new();
    for (number, (record, said)) in test.records.iter().zip(&together).enumerate() {
        if !agrees(&record.expect, said) {
            let (expected, found) = (expected(&record.expect), told(said));
            complaints.push(format!("record {number}: expected {expected}, found {found}"));
        }
    }
    for (number, record) in records.iter().enumerate() {
        match self::said(module, test, std::slice::from_ref(record)) {
            Ok(alone) if alone[0] != together[number] => {
                let (alone, together) = (told(&alone[0]), told(&together[number]));
                complaints.push(format!("record {number}: {together}, but alone {alone}"));
            }
            Ok(_) => {}
            Err(reason) => return vec![reason],
        }
    }
    complaints
}

fn properties(record: &FilterRecord) -> PropertiesBuf {
    let mut encoded = PropertiesBuf::new();
    for (name, value) in [(keys::KEYS, &record.key), (keys::TAGS, &record.tag)] {
        if let Some(value) = value {
            encoded.push(name, value);
        }
    }
    for (name, value) in &record.properties {
        encoded.push(name, value);
    }
    encoded
}

/// What a new instance of the module says about records.
fn said(
    module: &Arc<Module>,
    test: &FilterTest,
    records: &[Record<'_>],
) -> Result<Vec<Said>, String> {
    let start = Filter::start(Arc::clone(module), test.params.clone());
    let filter = start.map_err(|error| error.to_string())?;
    let mut said: Vec<Option<Said>> = vec![None; records.len()];
    loop {
        let rows: Vec<usize> = (0..records.len()).filter(|row| said[*row].is_none()).collect();
        if rows.is_empty() {
            return Ok(said.into_iter().flatten().collect());
        }
        let left: Vec<Record<'_>> = rows.iter().map(|row| records[*row]).collect();
        let batch = Batch { topic: "tests", queue: 0, records: &left };
        let decisions = filter.run(&batch).map_err(|error| error.to_string())?;
        let mut outputs = decisions.outputs().peekable();
        for (number, (row, verdict)) in rows.iter().zip(decisions.verdicts()).enumerate() {
            let mut bodies = Vec::new();
            while let Some(output) = outputs.next_if(|output| output.record as usize == number) {
                let body = output.body.unwrap_or(records[*row].body);
                bodies.push(String::from_utf8_lossy(body).into_owned());
            }
            said[*row] = match verdict {
                Verdict::Keep => Some(Said::Keep),
                Verdict::Drop => Some(Said::Drop),
                Verdict::Replace => Some(Said::Replace(bodies)),
                Verdict::Failed(fault) => Some(Said::Fail(fault.to_string())),
                // One of the others took the time of all.
                Verdict::NotReached => None,
            };
        }
    }
}

fn agrees(expected: &FilterVerdict, said: &Said) -> bool {
    match (expected, said) {
        (FilterVerdict::Keep, Said::Keep) | (FilterVerdict::Drop, Said::Drop) => true,
        (FilterVerdict::Replace(bodies), Said::Replace(found)) => {
            bodies.as_ref().is_none_or(|bodies| bodies == found)
        }
        (FilterVerdict::Fail(part), Said::Fail(reason)) => {
            part.as_ref().is_none_or(|part| reason.contains(part))
        }
        _ => false,
    }
}

fn expected(verdict: &FilterVerdict) -> String {
    match verdict {
        FilterVerdict::Keep => "keep".to_owned(),
        FilterVerdict::Drop => "drop".to_owned(),
        FilterVerdict::Replace(None) => "replace".to_owned(),
        FilterVerdict::Replace(Some(bodies)) => format!("replace with {bodies:?}"),
        FilterVerdict::Fail(None) => "fail".to_owned(),
        FilterVerdict::Fail(Some(part)) => format!("fail with {part:?}"),
    }
}

fn told(said: &Said) -> String {
    match said {
        Said::Keep => "keep".to_owned(),
        Said::Drop => "drop".to_owned(),
        Said::Replace(bodies) => format!("replace with {bodies:?}"),
        Said::Fail(reason) => format!("fail with {reason:?}"),
    }
}
