//! How long messages are kept, as flags of the command line.

use clap::Args;
use millrace_server::RetentionConfig;
use millrace_types::GroupName;

use crate::figures::parse_size;

/// How long messages are kept.
#[derive(Args, Debug)]
pub(crate) struct Keeping {
    /// Hours that messages are kept, while the broker runs; a topic's attribute `reserve.time` says
    /// otherwise for it.
    #[arg(long, value_name = "HOURS", default_value_t = 72)]
    keep_hours: u64,
    /// Remove the oldest messages earlier rather than have more bytes of log.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    keep_bytes: Option<u64>,
    /// Hours beyond their time that messages are kept for a sink or a group that needs them. Then
    /// they go, and what is lost is reported.
    #[arg(long, value_name = "HOURS", default_value_t = 168)]
    hold_hours: u64,
    /// A consumer group whose unread messages are held; can be given several times. Sinks always
    /// hold theirs.
    #[arg(long, value_name = "GROUP", value_parser = parse_group)]
    hold_group: Vec<GroupName>,
    #[command(flatten)]
    room: Room,
    /// Remove the oldest messages, read or unread, while more of the disk is in use, in percent;
    /// never unless given.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    sacrifice_at: Option<u8>,
}

/// When there is no room for more.
#[derive(Args, Debug)]
pub(crate) struct Room {
    /// Refuse producers while more of the disk is in use, in percent.
    #[arg(long, value_name = "PERCENT", default_value_t = 95,
        value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) refuse_at: u8,
}

impl Room {
    /// For who keeps messages as long as usual.
    pub(crate) fn config(&self) -> RetentionConfig {
        RetentionConfig { refuse_percent: self.refuse_at, ..RetentionConfig::default() }
    }
}

const HOUR_MS: u64 = 3_600_000;

impl Keeping {
    /// What is allowed and probably not meant.
    pub(crate) fn doubt(&self) -> Option<String> {
        let refuse_at = self.room.refuse_at;
        let sacrifice_at = self.sacrifice_at.filter(|sacrifice_at| *sacrifice_at < refuse_at)?;
        Some(format!(
            "with --sacrifice-at {sacrifice_at} below --refuse-at {refuse_at} the oldest messages \
             go, read or unread, before any producer is refused"
        ))
    }

    pub(crate) fn config(&self) -> RetentionConfig {
        RetentionConfig {
            keep_ms: self.keep_hours.saturating_mul(HOUR_MS),
            bytes_max: self.keep_bytes,
            hold_max_ms: self.hold_hours.saturating_mul(HOUR_MS),
            hold_groups: self.hold_group.clone(),
            sacrifice_percent: self.sacrifice_at,
            ..self.room.config()
        }
    }
}

fn parse_group(text: &str) -> Result<GroupName, String> {
    GroupName::parse(text).map_err(|error| error.to_string())
}
