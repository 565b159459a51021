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
        PartName::parse(file).is_some_and(|part| part.is_staged && part.prefix == self.prefix)
    }
}

/// The name of a part, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartName<'n> {
    /// What it begins with.
    pub(crate) prefix: &'n str,
    pub(crate) number: Number,
    pub(crate) is_staged: bool,
}

impl<'n> PartName<'n> {
    /// `None` for a file that is no part: nobody here reads or removes it.
    pub(crate) fn parse(file: &'n str) -> Option<Self> {
        let whole = file.strip_suffix(ENDING)?;
        let (stem, is_staged) = match whole.strip_prefix('.') {
            Some(staged) => {
                let (stem, tag) = staged.split_once('.')?;
                (digits(tag).then_some(stem)?, true)
            }
            None => {
                let (stem, checksum) = whole.rsplit_once('-')?;
                let is_hex = checksum.len() == 8 && checksum.bytes().all(|b| b.is_ascii_hexdigit());
                (is_hex.then_some(stem)?, false)
            }
        };
        let (prefix, number) = stem.rsplit_once('-')?;
        let read = |text: &str| (text.len() >= 10 && digits(text)).then(|| text.parse().ok())?;
        let number = match number.strip_prefix('m') {
            Some(serial) => Number::Merged(read(serial)?),
            None => Number::Planned(read(number)?),
        };
        (!prefix.is_empty()).then_some(Self { prefix, number, is_staged })
    }

    /// The prefix of the sink that it is of.
    pub(crate) fn owner(&self) -> &'n str {
        owner(self.prefix)
    }
}

/// What a replay of dead letters adds to the prefix of its sink, whose name never has a `_`.
const REPLAY: &str = "_dlq";

/// The prefix of the sink itself, of that of whoever writes for it.
pub(crate) fn owner(prefix: &str) -> &str {
    prefix.strip_suffix(REPLAY).unwrap_or(prefix)
}

/// Whether a file is a part that is to be looked at.
pub(crate) fn is_published(file: &str) -> bool {
    PartName::parse(file).is_some_and(|part| !part.is_staged)
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
    }

    #[test]
    fn names_are_taken_apart() {
        for prefix in ["log-search", "log-search_dlq", "a-0000000001"] {
            let names = Names { prefix: prefix.to_owned(), worker_tag: 7 };
            for number in [Number::Planned(12), Number::Merged(3), Number::Planned(u64::MAX)] {
                let (staged, published) = (names.staged(number), names.published(number, 0xab));
                let told = |is_staged| Some(PartName { prefix, number, is_staged });
                assert_eq!(PartName::parse(&staged), told(true), "{staged}");
                assert_eq!(PartName::parse(&published), told(false), "{published}");
            }
        }
        assert_eq!(
            (owner("log-search_dlq"), owner("log_dlq-search")),
            ("log-search", "log_dlq-search")
        );
        for other in [
            "foo.part",
            ".foo.part",
            "log-search-0000000012.part",
            "log-search-0000000012-000000ab",
            "log-search-12-000000ab.part",
            "log-search-0000000012-xyz.part",
            "log-search-x0000000012-000000ab.part",
            "-0000000012-000000ab.part",
            "log-search-99999999999999999999999-000000ab.part",
        ] {
            assert_eq!(PartName::parse(other), None, "{other}");
        }
    }
}
