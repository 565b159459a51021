use std::path::PathBuf;

use rustix::io::Errno;

/// Something that goes wrong on a [`SimDisk`](super::SimDisk). The `nth` ones count from 1, count
/// only what happens after they are injected, and happen once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The n-th write fails with `EIO` after some of its first bytes.
    FailWrite {
        /// 1 is the next one.
        nth: u64,
    },
    /// The n-th write fails with `StorageFull` after some of its first bytes.
    FullWrite {
        /// 1 is the next one.
        nth: u64,
    },
    /// The n-th sync of a file fails with `EIO`. Some of what it should have made durable may
    /// be; the rest never will be, although reads see it until the next power cut and a later
    /// sync succeeds.
    FailSync {
        /// 1 is the next one.
        nth: u64,
    },
    /// The n-th sync of a directory fails with `EIO`, and its names stay as they were.
    FailSyncDir {
        /// 1 is the next one.
        nth: u64,
    },
    /// The n-th operation of any kind, as [`SimDisk::operations`](super::SimDisk::operations)
    /// counts them, fails with `EIO`: a write or a sync as described above, anything else without
    /// effect.
    FailOperation {
        /// 1 is the next one.
        nth: u64,
    },
    /// The n-th rename or replacement fails with `EIO` and changes nothing.
    FailRename {
        /// 1 is the next one.
        nth: u64,
    },
    /// The disk has room for so many bytes in all, counted in whole blocks of 4 KiB and with what
    /// is allocated. Holds until another capacity is set, and through power cuts.
    Capacity {
        /// Rounded down to whole blocks.
        bytes: u64,
    },
    /// Reads of a sector of an existing file fail with `EIO`, from now on and through power cuts;
    /// to look at it through a map panics, where a real process would get a `SIGBUS`.
    BadSector {
        /// The file; the fault stays with it when it is renamed.
        path: PathBuf,
        /// Counted from 0, 512 bytes each.
        sector: u64,
    },
    /// So many more operations work, and then power fails in the middle of the next one. See
    /// [`SimDisk::cut_after`](super::SimDisk::cut_after).
    PowerCut {
        /// Operations that still work.
        after: u64,
    },
}

/// The faults that wait for their turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Vec<Waiting>);

#[derive(Clone, Debug)]
struct Waiting {
    /// Any, if `None`.
    operation: Option<Operation>,
    error: Errno,
    /// 1 is the next one.
    nth: u64,
}

/// What may change a disk, and fail at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Create,
    CreateDir,
    Rename,
    Remove,
    Write,
    Allocate,
    Zero,
    Truncate,
    Sync,
    SyncDir,
}

impl Faults {
    pub(super) fn wait(&mut self, operation: Option<Operation>, nth: u64, error: Errno) {
        self.0.push(Waiting { operation, error, nth });
    }

    /// Counts an operation, and tells whether it is one that fails.
    pub(super) fn turn(&mut self, operation: Operation) -> Result<(), Errno> {
        let mut result = Ok(());
        self.0.retain_mut(|fault| {
            if fault.operation.is_some_and(|concerned| concerned != operation) {
                return true;
            }
            fault.nth = fault.nth.saturating_sub(1);
            if fault.nth == 0 {
                result = Err(fault.error);
            }
            fault.nth > 0
        });
        result
    }
}
