//! How long messages are kept, as flags of the command line.

use clap::Args;
use millrace_server::RetentionConfig;
use millrace_types::GroupName;

use crate::figures::parse_size;

/// How long messages are kept.
#[derive(Args, Debug)]
pub(crate) struct Keeping {
    /// Hours that messages are kept, while the broker runs; a topic's attribute `reserve.time` says
    /// otherwise for it [default: 72]
    #[arg(long, value_name = "HOURS")]
    keep_hours: Option<u64>,
    /// Remove the oldest messages earlier rather than have more bytes of log.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    keep_bytes: Option<u64>,
    /// Hours beyond their time that messages are kept for a sink or a group that needs them. Then
    /// they go, and what is lost is reported [default: 168]
    #[arg(long, value_name = "HOURS")]
    hold_hours: Option<u64>,
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
    /// Refuse producers while more of the disk is in use, in percent [default: 95]
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) refuse_at: Option<u8>,
}

impl Room {
    /// For who keeps messages as long as usual.
    pub(crate) fn config(&self) -> RetentionConfig {
        let mut config = RetentionConfig::default();
        self.overrule(&mut config);
        config
    }

    fn overrule(&self, config: &mut RetentionConfig) {
        config.refuse_percent = self.refuse_at.unwrap_or(config.refuse_percent);
    }
}

const HOUR_MS: u64 = 3_600_000;

/// What is allowed and probably not meant.
pub(crate) fn doubt(config: &RetentionConfig) -> Option<String> {
    let refuse_at = config.refuse_percent;
    let sacrifice_at = config.sacrifice_percent.filter(|percent| *percent < refuse_at)?;
    Some(format!(
        "the oldest messages go, read or unread, from {sacrifice_at} percent of the disk on \
         (--sacrifice-at, cleanFileForciblyEnable), before any producer is refused at {refuse_at} \
         (--refuse-at, diskSpaceWarningLevelRatio)"
    ))
}

impl Keeping {
    /// Sets what flags say, whatever was said before.
    pub(crate) fn overrule(&self, config: &mut RetentionConfig) {
        let ms = |hours: u64| hours.saturating_mul(HOUR_MS);
        config.keep_ms = self.keep_hours.map_or(config.keep_ms, ms);
        config.hold_max_ms = self.hold_hours.map_or(config.hold_max_ms, ms);
        config.bytes_max = self.keep_bytes.or(config.bytes_max);
        config.sacrifice_percent = self.sacrifice_at.or(config.sacrifice_percent);
        config.hold_groups.clone_from(&self.hold_group);
        self.room.overrule(config);
    }
}

fn parse_group(text: &str) -> Result<GroupName, String> {
    GroupName::parse(text).map_err(|error| error.to_string())
}
