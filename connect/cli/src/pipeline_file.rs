//! A pipeline file from the disk.

use std::collections::VecDeque;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use millrace_config::{Diagnostic, Pipeline, Report};
use millrace_disk::RealDisk;
use millrace_runtime::{FilterError, FilterFault, Filters};
use millrace_wasm_host::StartError;

use crate::causes::io_failure;
use crate::exit::{Exit, Failure, codes};
use crate::figures::counted;
use crate::output::complain;

/// A pipeline that can run.
pub(crate) struct Checked {
    pub(crate) pipeline: Arc<Pipeline>,
    /// The modules of its steps.
    pub(crate) filters: Filters,
}

/// Why there is no pipeline.
pub(crate) enum Unusable {
    /// The file cannot be read.
    Unread(Failure),
    /// It is read, and wrong.
    Wrong(Report),
}

/// Reads and checks a pipeline file, and the modules that it names. Its `${env:…}` see the
/// environment of this process.
pub(crate) fn load(path: &Path) -> Result<Checked, Unusable> {
    let bytes = fs::read(path).map_err(|error| Unusable::Unread(unread(path, error)))?;
    let file = path.display().to_string();
    let disk = RealDisk::new();
    let wrong_modules = |errors: Vec<FilterError>| {
        let findings = errors.into_iter().map(|error| {
            let help = match &error.source {
                FilterFault::Twice => "let one of them keep or change messages as a whole",
                FilterFault::NotApart(_) => {
                    "write the rows into files, or take messages apart before they are produced"
                }
                FilterFault::BehindColumns(_) => "move the module before it",
                FilterFault::OfOneSink(_) => {
                    "move it into the pipeline's own `steps`, or let it keep or change messages as a \
                     whole"
                }
                FilterFault::Start(StartError::Params { .. } | StartError::Refused { .. }) => {
                    "`millrace filter check MODULE` says which parameters it takes"
                }
                FilterFault::Load(error) => error.help(),
                FilterFault::Start(StartError::Fault { .. }) => {
                    "`millrace filter check MODULE` starts it in the same way"
                }
                FilterFault::Unread(_) => {
                    "a module is a file, named from the current directory on"
                }
            };
            (error.at.clone(), codes::FILTER, error.to_string(), help.to_owned())
        });
        Report::of_findings(&file, &bytes, findings)
    };
    let pipeline = Pipeline::parse(&file, &bytes, &environment).map_err(|report| {
        let modules = wrong_modules(Filters::check(&report.modules, &disk));
        Unusable::Wrong(match modules {
            Some(modules) => report.with(modules),
            None => report,
        })
    })?;
    let filters = Filters::load(&pipeline, &disk).map_err(|errors| {
        let report = wrong_modules(errors).expect("there is an error");
        Unusable::Wrong(match Report::of_warnings(&file, &pipeline.warnings) {
            Some(warnings) => report.with(warnings),
            None => report,
        })
    })?;
    Ok(Checked { pipeline: Arc::new(pipeline), filters })
}

/// The environment of this process. A value that is not UTF-8 is as good as none.
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn unread(path: &Path, error: std::io::Error) -> Failure {
    let message = format!("cannot read {}: {error}", path.display());
    let failure = match error.kind() {
        ErrorKind::NotFound => Failure::new(Exit::Input, codes::FILE, message)
            .hint("name a pipeline file, for instance pipelines/orders.yaml"),
        ErrorKind::IsADirectory | ErrorKind::NotADirectory | ErrorKind::InvalidInput => {
            Failure::new(Exit::Input, codes::FILE, message)
        }
        _ => {
            let mut failure = io_failure(&error);
            failure.message = message;
            if error.kind() == ErrorKind::PermissionDenied {
                failure = failure.hint("the program may not read it: see its permissions");
            }
            failure
        }
    };
    failure.caused_by(&error)
}

impl From<Unusable> for Failure {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Unread(failure) => failure,
            Unusable::Wrong(report) => from_reports(vec![report]),
        }
    }
}

/// Several files of which nothing can be made, as one failure: all that is wrong in them. What has no
/// place in a file is told at once, but for the first where nothing else is wrong.
pub(crate) fn from_all(failures: Vec<Failure>) -> Failure {
    let (mut reports, mut others) = (Vec::new(), VecDeque::new());
    for mut failure in failures {
        match failure.reports.is_empty() {
            true => others.push_back(failure),
            false => reports.append(&mut failure.reports),
        }
    }
    let failure = match others.pop_front_if(|_| reports.is_empty()) {
        Some(first) => first,
        None => from_reports(reports),
    };
    others.iter().for_each(|failure| complain(&failure.shown(false).to_string()));
    failure
}

/// What a failure is about: the first mistake, or the first warning where there is none.
pub(crate) fn first(reports: &[Report]) -> Option<&Diagnostic> {
    let mistakes = reports.iter().flat_map(|report| &report.diagnostics);
    mistakes.chain(reports.iter().flat_map(|report| &report.warnings)).next()
}

/// Everything wrong with some pipeline files as one failure.
pub(crate) fn from_reports(reports: Vec<Report>) -> Failure {
    let mistakes: usize = reports.iter().map(|report| report.diagnostics.len()).sum();
    let warnings: usize = reports.iter().map(|report| report.warnings.len()).sum();
    let code = first(&reports).map_or(codes::FILE, |diagnostic| diagnostic.code);
    let files: Vec<&str> = reports.iter().map(|report| report.file.as_str()).collect();
    let told = match mistakes {
        // Somebody asked for it with `--strict`.
        0 => counted(warnings as u64, "warning"),
        mistakes => counted(mistakes as u64, "error"),
    };
    let message = format!("{told} in {}", files.join(", "));
    let mut failure = Failure::new(Exit::Input, code, message);
    failure.reports = reports;
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_may_not_be_read_is_not_one_to_write() {
        let failure = unread(Path::new("a.yaml"), ErrorKind::PermissionDenied.into());
        assert_eq!((failure.exit, failure.code), (Exit::Environment, codes::DISK_IO));
        let hint = failure.hint.as_deref().unwrap_or_default();
        assert!(hint.contains("may not read") && !hint.contains("write"), "{hint}");
    }
}
