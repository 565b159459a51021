//! The log: events of all crates, on stderr.

use std::io;

use tracing_subscriber::EnvFilter;

/// The variable that says what is logged, for instance `info` or `millrace_runtime=debug`.
const VARIABLE: &str = "MILLRACE_LOG";

/// What is logged if nobody says anything else.
pub(crate) const USUAL: &str = "warn";

/// Warnings, but for those of a disk that fills. Where the broker is in this process, its pipeline
/// tells the same: at once in the error that ends it, or as a warning while it waits.
pub(crate) const BROKER_INSIDE: &str =
    "warn,millrace_engine::room=error,millrace_store::flush=error";

/// Nothing, for who breaks things on purpose.
pub(crate) const NOTHING: &str = "off";

/// Starts logging: what is usual, or more with each `--verbose`, or what `MILLRACE_LOG` says.
pub(crate) fn start(verbose: u8, usual: &str) {
    let level = match verbose {
        0 => usual,
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let wanted = std::env::var(VARIABLE).ok().filter(|text| !text.is_empty());
    let filter = wanted.as_deref().map(EnvFilter::try_new);
    let (filter, mistake) = match filter {
        Some(Ok(filter)) => (filter, None),
        Some(Err(mistake)) => (EnvFilter::new(level), Some(mistake)),
        None => (EnvFilter::new(level), None),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(false)
        // It would tell that on stderr, too, and panic where that cannot be written: on a full
        // disk, for instance, when there is most to log.
        .log_internal_errors(false)
        .with_target(verbose > 1)
        .init();
    if let Some(mistake) = mistake {
        tracing::warn!(error = %mistake, "{VARIABLE} is not understood and left out");
    }
}
