//! `millrace test`: whether pipelines do what their files say they do.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use millrace_config::TestCase;
use serde_json::{Value, json};

use crate::causes::io_failure;
use crate::exit::{Exit, Failure, codes};
use crate::figures::counted;
use crate::output::{Answer, print};
use crate::pipeline_file::{self, Checked};
use crate::trial::{Trial, Verdict};

/// Run the tests in pipeline files, each on a broker and a disk in memory.
///
/// The whole pipeline runs, from the decoder to the files; only the source gives the messages of
/// the test instead of what it would read.
#[derive(Args, Debug)]
#[command(after_help = "\
Exit code 4 if a test fails, and 2 if a file cannot be used; the tests of the others run all the same.

Examples:
  millrace test pipelines/
  millrace test pipelines/orders.yaml -k late --power-cuts 50
  millrace test pipelines/ --junit report.xml")]
pub(crate) struct Test {
    /// Pipeline files, or directories of them.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Only tests whose names contain this.
    #[arg(short = 'k', long = "name", value_name = "TEXT")]
    name: Option<String>,
    /// Repeat each test so often with a power cut in the middle: it has to come out the same after
    /// a restart. The cuts are spread evenly over all operations of the disk.
    #[arg(long, value_name = "N", default_value_t = 0)]
    power_cuts: u64,
    /// What a power cut leaves of writes that were not synced follows from this.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    seed: u64,
    /// Write a report in the format of JUnit.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Answer in one line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// One pipeline file and how its tests went.
struct Suite {
    file: String,
    results: Vec<TestResult>,
    /// Why it has none.
    broken: Option<Broken>,
    took: Duration,
}

/// A file that cannot be used, and what a terminal shows of that.
struct Broken {
    code: &'static str,
    message: String,
    shown: String,
}

struct TestResult {
    name: String,
    complaints: Vec<String>,
    cuts: u64,
    took: Duration,
}

impl Test {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let mut suites = Vec::new();
        let mut failures = Vec::new();
        for path in self.files()? {
            let file = path.display().to_string();
            let checked = pipeline_file::load(&path).map_err(Failure::from);
            let suite = checked.and_then(|checked| self.suite(file.clone(), &checked));
            suites.push(suite.unwrap_or_else(|failure| {
                let suite = Suite::broken(file, &failure);
                failures.push(failure);
                suite
            }));
        }
        let tests: usize = suites.iter().map(|suite| suite.results.len()).sum();
        if tests == 0 && failures.is_empty() {
            let message = match &self.name {
                Some(name) => format!("no test has {name:?} in its name"),
                None => "there are no tests in these files".to_owned(),
            };
            return Err(Failure::new(Exit::Input, codes::TEST, message)
                .hint("`millrace docs tests` shows how to write some"));
        }
        if let Some(path) = &self.junit {
            fs::write(path, junit(&suites)).map_err(|error| {
                let mut failure = io_failure(&error);
                failure.message = format!("cannot write {}: {error}", path.display());
                failure
            })?;
        }
        let failed: usize = suites.iter().map(Suite::failed).sum();
        let mut summary = format!(
            "{} of {}: {} passed, {failed} failed",
            counted(tests as u64, "test"),
            counted((suites.len() - failures.len()) as u64, "file"),
            tests - failed,
        );
        if !failures.is_empty() {
            let broken = counted(failures.len() as u64, "file");
            summary.push_str(&format!("; {broken} cannot be tested"));
        }
        let mut text: String = suites.iter().map(Suite::shown).collect();
        let _ = writeln!(text, "{summary}");
        let result: Value = suites.iter().map(Suite::told).collect();
        if !failures.is_empty() {
            if tests > 0 && !self.json {
                print(&text);
            }
            let mut failure = pipeline_file::from_all(failures);
            failure.result = result;
            return Err(failure);
        }
        let exit = if failed == 0 { Exit::Done } else { Exit::No };
        Ok(Answer { exit, summary, text, result })
    }

    /// The pipeline files, those of a directory in the order of their names.
    fn files(&self) -> Result<Vec<PathBuf>, Failure> {
        let mut files = Vec::new();
        for path in &self.paths {
            if !path.is_dir() {
                files.push(path.clone());
                continue;
            }
            let entries = fs::read_dir(path).map_err(|error| io_failure(&error))?;
            let mut found = Vec::new();
            for entry in entries {
                let path = entry.map_err(|error| io_failure(&error))?.path();
                let is_yaml =
                    |path: &Path| path.extension().is_some_and(|e| e == "yaml" || e == "yml");
                found.extend(Some(path).filter(|path| is_yaml(path)));
            }
            if found.is_empty() {
                let message = format!("{} has no .yaml files", path.display());
                return Err(Failure::new(Exit::Input, codes::FILE, message));
            }
            found.sort();
            files.append(&mut found);
        }
        Ok(files)
    }

    fn suite(&self, file: String, checked: &Checked) -> Result<Suite, Failure> {
        let begun = Instant::now();
        let mut results = Vec::new();
        let wanted =
            |case: &&TestCase| self.name.as_ref().is_none_or(|name| case.name.contains(name));
        for case in checked.pipeline.tests.iter().filter(wanted) {
            results.push(self.test(checked, case)?);
        }
        Ok(Suite { file, results, broken: None, took: begun.elapsed() })
    }

    fn test(&self, checked: &Checked, case: &TestCase) -> Result<TestResult, Failure> {
        let begun = Instant::now();
        let trial = Trial::new(checked, case)?;
        let (mut complaints, operations) = match trial.run() {
            Ok(Verdict { complaints, operations }) => (complaints, operations),
            Err(failure) => (vec![failure.message.clone()], 0),
        };
        let mut cuts = 0;
        while complaints.is_empty() && cuts < self.power_cuts {
            let (after, seed) = (operations * cuts / self.power_cuts, self.seed + cuts);
            complaints = match trial.run_with_cut(after, seed) {
                Ok(verdict) => verdict.complaints,
                Err(failure) => vec![failure.message.clone()],
            };
            for complaint in &mut complaints {
                complaint
                    .push_str(&format!(" (after a power cut at operation {after}, seed {seed})"));
            }
            cuts += 1;
        }
        Ok(TestResult { name: case.name.clone(), complaints, cuts, took: begun.elapsed() })
    }
}

impl Suite {
    fn broken(file: String, failure: &Failure) -> Self {
        let broken = Broken {
            code: failure.code,
            message: failure.message.clone(),
            shown: failure.shown(false).to_string(),
        };
        Self { file, results: Vec::new(), broken: Some(broken), took: Duration::ZERO }
    }

    fn failed(&self) -> usize {
        self.results.iter().filter(|result| !result.complaints.is_empty()).count()
    }

    fn shown(&self) -> String {
        let what = match &self.broken {
            Some(_) => ": cannot be tested",
            None if self.results.is_empty() => ": no tests",
            None => "",
        };
        let mut text = format!("{}{what}\n", self.file);
        for TestResult { name, complaints, cuts, .. } in &self.results {
            let verdict = if complaints.is_empty() { "ok  " } else { "FAIL" };
            let cuts = if *cuts > 0 {
                format!(" ({})", counted(*cuts, "power cut"))
            } else {
                String::new()
            };
            let _ = writeln!(text, "  {verdict}  {name}{cuts}");
            for complaint in complaints {
                let _ = writeln!(text, "          {complaint}");
            }
        }
        text
    }

    fn told(&self) -> Value {
        let results = self.results.iter().map(|result| {
            json!({
                "name": result.name,
                "ok": result.complaints.is_empty(),
                "complaints": result.complaints,
                "power_cuts": result.cuts,
                "elapsed_ms": result.took.as_millis() as u64,
            })
        });
        let error = self.broken.as_ref();
        let error = error.map(|it| json!({"code": it.code, "message": it.message}));
        json!({"file": self.file, "tests": results.collect::<Vec<_>>(), "error": error})
    }
}

/// The report that build servers read.
fn junit(suites: &[Suite]) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for suite in suites {
        let errors = usize::from(suite.broken.is_some());
        let (file, tests) = (xml_text(&suite.file), suite.results.len() + errors);
        let (failures, time) = (suite.failed(), suite.took.as_secs_f64());
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{file}\" tests=\"{tests}\" failures=\"{failures}\" \
             errors=\"{errors}\" time=\"{time:.3}\">"
        );
        if let Some(Broken { shown, .. }) = &suite.broken {
            let shown = xml_text(shown.trim_end());
            let _ = writeln!(
                xml,
                "    <testcase classname=\"{file}\" name=\"the file can be used\">\n      \
                 <error>{shown}</error>\n    </testcase>"
            );
        }
        for TestResult { name, complaints, took, .. } in &suite.results {
            let (name, time) = (xml_text(name), took.as_secs_f64());
            let case =
                format!("    <testcase classname=\"{file}\" name=\"{name}\" time=\"{time:.3}\"");
            if complaints.is_empty() {
                let _ = writeln!(xml, "{case}/>");
            } else {
                let complaints = xml_text(&complaints.join("\n"));
                let _ = writeln!(
                    xml,
                    "{case}>\n      <failure>{complaints}</failure>\n    </testcase>"
                );
            }
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

/// A text as it may stand in XML, which has no way to say most control characters.
fn xml_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(char),
            char if char.is_control() => out.push(char::REPLACEMENT_CHARACTER),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_xml_whatever_the_names_are() {
        let result = TestResult {
            name: "a < b & \"c\"\u{1}".into(),
            complaints: vec!["lake: 1 row, expected 2".into()],
            cuts: 0,
            took: Duration::from_millis(1500),
        };
        let suite = Suite {
            file: "p.yaml".into(),
            results: vec![result],
            broken: None,
            took: Duration::ZERO,
        };
        let gone = Failure::new(Exit::Input, codes::FILE, "cannot read <q>.yaml");
        let gone = Suite::broken("<q>.yaml".into(), &gone);
        let expected = "\
<?xml version=\"1.0\" encoding=\"UTF-8\"?>
<testsuites>
  <testsuite name=\"p.yaml\" tests=\"1\" failures=\"1\" errors=\"0\" time=\"0.000\">
    <testcase classname=\"p.yaml\" name=\"a &lt; b &amp; &quot;c&quot;\u{fffd}\" time=\"1.500\">
      <failure>lake: 1 row, expected 2</failure>
    </testcase>
  </testsuite>
  <testsuite name=\"&lt;q&gt;.yaml\" tests=\"1\" failures=\"0\" errors=\"1\" time=\"0.000\">
    <testcase classname=\"&lt;q&gt;.yaml\" name=\"the file can be used\">
      <error>error[E-FILE-01]: cannot read &lt;q&gt;.yaml</error>
    </testcase>
  </testsuite>
</testsuites>
";
        assert_eq!(junit(&[suite, gone]), expected);
    }
}
