use millrace_protocol::{Refused, ResponseCode};

/// Why a broker stores nothing, as far as its answer tells: that of a Millrace does, that of an
/// Apache RocketMQ names several possible reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorageTrouble {
    /// For now: its disk is full. Reading works.
    DiskFull(String),
    /// It stopped writing, because it no longer knows what is on its disk.
    Stopped(String),
}

/// How the remarks of a Millrace begin where the code alone does not tell enough, or where our
/// error says the same.
const FULL: &str = "the broker's disk is full: ";
const STOPPED: &str = "the broker stopped writing: ";

impl StorageTrouble {
    /// What a refusal says about the broker's storage; `None` if it is about something else.
    pub(crate) fn of(refused: &Refused) -> Option<Self> {
        let remark = &*refused.remark;
        let (full, stopped) = (remark.strip_prefix(FULL), remark.strip_prefix(STOPPED));
        match refused.code {
            ResponseCode::MR_DISK_FULL => Some(Self::DiskFull(full.unwrap_or(remark).to_owned())),
            ResponseCode::MR_POISONED => Some(Self::Stopped(stopped.unwrap_or(remark).to_owned())),
            // Requests of RocketMQ are answered with its codes, which tell less.
            ResponseCode::SERVICE_NOT_AVAILABLE => full.map(str::to_owned).map(Self::DiskFull),
            ResponseCode::SYSTEM_ERROR => stopped.map(str::to_owned).map(Self::Stopped),
            _ => None,
        }
    }
}
