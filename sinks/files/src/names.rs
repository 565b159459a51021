//! What parts are called.

use millrace_connect_api::Part;

use crate::options::Format;

/// How the files of one pipeline and one worker are named.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) prefix: String,
    pub(crate) extension: &'static str,
    pub(crate) worker_tag: u64,
}

impl Names {
    /// The final name of a part, relative to the sink's directory.
    pub(crate) fn published(&self, partition: &str, id: u64) -> String {
        in_dir(partition, &self.file(id))
    }

    /// Its name until it is published. Readers that look for `*.parquet` see neither the dot at
    /// its beginning nor the ending.
    pub(crate) fn staged(&self, partition: &str, id: u64) -> String {
        in_dir(partition, &format!(".{}.{}.part", self.file(id), self.worker_tag))
    }

    fn file(&self, id: u64) -> String {
        format!("{}-{id:010}.{}", self.prefix, self.extension)
    }

    /// Whether a file, named without its directory, is a staged part of this pipeline, by
    /// whichever worker and in whichever format: the sink may have had another one.
    pub(crate) fn is_staged(&self, file: &str) -> bool {
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let parts = || {
            let rest = file.strip_prefix('.')?.strip_prefix(&self.prefix)?.strip_prefix('-')?;
            let (id, rest) = rest.strip_suffix(".part")?.split_once('.')?;
            let (extension, tag) = rest.rsplit_once('.')?;
            Some((id, extension, tag))
        };
        parts().is_some_and(|(id, extension, tag)| {
            let known = Format::EXTENSIONS.contains(&extension);
            id.len() >= 10 && digits(id) && known && digits(tag)
        })
    }
}

/// The directory of a part, relative to the sink's.
pub(crate) fn dir(part: &Part) -> &str {
    part.staged.rsplit_once('/').map_or("", |(dir, _)| dir)
}

fn in_dir(partition: &str, file: &str) -> String {
    if partition.is_empty() { file.to_owned() } else { format!("{partition}/{file}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names { prefix: "errors".to_owned(), extension: "parquet", worker_tag: 7 }
    }

    #[test]
    fn parts_are_named_after_pipeline_and_number() {
        assert_eq!(names().published("", 12), "errors-0000000012.parquet");
        assert_eq!(names().staged("", 12), ".errors-0000000012.parquet.7.part");
        assert_eq!(names().published("day=x/a=b", 12), "day=x/a=b/errors-0000000012.parquet");
        assert_eq!(names().staged("day=x", 12), "day=x/.errors-0000000012.parquet.7.part");
    }

    #[test]
    fn only_this_pipelines_staging_is_recognised() {
        for ours in [
            ".errors-0000000012.parquet.7.part",
            ".errors-12345678901.parquet.8.part",
            ".errors-0000000012.jsonl.7.part",
            ".errors-0000000012.jsonl.zst.7.part",
            ".errors-0000000012.csv.gz.7.part",
        ] {
            assert!(names().is_staged(ours), "{ours}");
        }
        for other in [
            "errors-0000000012.parquet",
            "errors-0000000012.parquet.7.part",
            ".errors-0000000012.parquet",
            ".errors-0000000012.parquet.part",
            ".errors-0000000012.parquet.x.part",
            ".errors-12.parquet.7.part",
            ".errors-0000000012.json.7.part",
            ".errors-0000000012.gz.7.part",
            ".errors-0000000012.jsonl.bz2.7.part",
            ".errors-eu-0000000012.parquet.7.part",
            ".other-0000000012.parquet.7.part",
            ".errors-0000000012.parquet.7.part.swp",
        ] {
            assert!(!names().is_staged(other), "{other}");
        }
    }
}
