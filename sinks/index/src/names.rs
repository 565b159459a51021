//! What parts are called.

/// How the parts of one pipeline's sink and one worker are named.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) prefix: String,
    pub(crate) worker_tag: u64,
}

/// What whoever merges parts holds, and leaves behind.
pub(crate) const UPKEEP_LOCK: &str = "lock";

/// How the names of parts end.
const ENDING: &str = ".part";

/// Which part of a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// One that the ledger knows.
    Planned(u64),
    /// One that was merged of others; by its serial, which another worker may take as well.
    Merged(u64),
}

impl Names {
    /// The final name of a part. Its checksum is in it, so that an index which is written again
    /// from the start, by a pipeline with another ledger, never meets its own names.
    pub(crate) fn published(&self, number: Number, checksum: u32) -> String {
        format!("{}-{checksum:08x}{ENDING}", self.stem(number))
    }

    /// Its name until it is published.
    pub(crate) fn staged(&self, number: Number) -> String {
        format!(".{}.{}{ENDING}", self.stem(number), self.worker_tag)
    }

    fn stem(&self, number: Number) -> String {
        match number {
            Number::Planned(id) => format!("{}-{id:010}", self.prefix),
            Number::Merged(serial) => format!("{}-m{serial:010}", self.prefix),
        }
    }

    /// Whether a file is a staged part of this sink, by whichever worker.
    pub(crate) fn is_staged(&self, file: &str) -> bool {
        let parts = || {
            let rest = file.strip_prefix('.')?.strip_prefix(&self.prefix)?.strip_prefix('-')?;
            let (stem, tag) = rest.strip_suffix(ENDING)?.split_once('.')?;
            Some((stem.strip_prefix('m').unwrap_or(stem), tag))
        };
        parts().is_some_and(|(id, tag)| id.len() >= 10 && digits(id) && digits(tag))
    }

    /// Whether a part is one that a ledger planned for this sink.
    pub(crate) fn is_planned(&self, file: &str) -> bool {
        let id = || {
            let rest = file.strip_prefix(&self.prefix)?.strip_prefix('-')?;
            Some(rest.strip_suffix(ENDING)?.split_once('-')?.0)
        };
        id().is_some_and(|id| id.len() >= 10 && digits(id))
    }
}

/// Whether a file is a part that is to be looked at.
pub(crate) fn is_published(file: &str) -> bool {
    !file.starts_with('.') && file.ends_with(ENDING)
}

/// Whether a file is one of an index at all.
pub(crate) fn is_ours(file: &str) -> bool {
    file.ends_with(ENDING)
}

fn digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_staging_of_this_sink_is_recognised() {
        let names = Names { prefix: "log-search".to_owned(), worker_tag: 7 };
        let (planned, merged) = (Number::Planned(12), Number::Merged(3));
        assert_eq!(names.staged(planned), ".log-search-0000000012.7.part");
        assert_eq!(names.published(planned, 0xab), "log-search-0000000012-000000ab.part");
        assert_eq!(names.published(merged, 0xab), "log-search-m0000000003-000000ab.part");
        assert!(names.is_staged(&names.staged(planned)) && names.is_staged(&names.staged(merged)));
        assert!(names.is_planned(&names.published(planned, 1)));
        assert!(!names.is_planned(&names.published(merged, 1)));
        for other in [
            "log-search-0000000012-000000ab.part",
            ".log-search-0000000012.x.part",
            ".log-search-12.7.part",
            ".log-search_dlq-0000000012.7.part",
            ".log-search-0000000012.parquet.7.part",
            ".other-0000000012.7.part",
        ] {
            assert!(!names.is_staged(other), "{other}");
        }
        assert!(!names.is_planned("log-search_dlq-0000000012-000000ab.part"));
    }
}
