use millrace_config::{Pipeline, SinkKind, SinkSpec, StepSpec};

use crate::filters::Filters;

/// Fingerprint of what decides the partition of a message: the same as long as every message
/// goes to the partition it went to before. It may also change where that is so.
///
/// [`Resume::ahead`](millrace_connect_api::Resume) says of partitions how far they are committed.
/// With another layout it would skip rows that are nowhere, and repeat others.
pub(super) fn layout(pipeline: &Pipeline, sink: &SinkSpec, filters: &Filters) -> String {
    let files = match &sink.kind {
        SinkKind::Files(files) => files,
        // Unlike that of any files, so that what such a sink left open is not taken for its own.
        SinkKind::Http(_) => return format!("{:016x}", fnv(b"bulks")),
        SinkKind::Index(_) | SinkKind::Stdout { .. } | SinkKind::Blackhole => {
            return format!("{:016x}", fnv(b"no files"));
        }
    };
    let mut text = String::new();
    for name in &files.partition_by {
        match pipeline.schema.column(name) {
            Some(column) => text.push_str(&format!("{name} {:?}\n", column.data_type)),
            None => text.push_str(&format!("{name}\n")),
        }
    }
    if !files.partition_by.is_empty() {
        text.push_str(&format!("{:?}\n", pipeline.decode));
        for step in pipeline.steps_to(sink) {
            match step {
                StepSpec::Set(columns) => columns.iter().for_each(|column| {
                    text.push_str(&format!("{} {}\n", column.name, column.value.text));
                }),
                StepSpec::Rename(columns) => columns.iter().for_each(|column| {
                    text.push_str(&format!("{} <- {}\n", column.to, column.from));
                }),
                StepSpec::Cast(columns) => columns.iter().for_each(|column| {
                    text.push_str(&format!("{column:?}\n"));
                }),
                StepSpec::Split(spec) => text.push_str(&format!("{spec:?}\n")),
                StepSpec::Filter { .. }
                | StepSpec::Dedupe(_)
                | StepSpec::Drop
                | StepSpec::Sample { .. }
                | StepSpec::Wasm(_) => {}
            }
        }
        for (spec, module) in filters.maps(pipeline, sink) {
            let params = serde_json::Value::Object(spec.params.clone());
            text.push_str(&format!("{} {params}\n", module.hash()));
        }
    }
    format!("{:016x}", fnv(text.as_bytes()))
}

/// FNV-1a with 64 bits: the ledger keeps it, so it must be the same in every build.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::path::Path;

    use millrace_disk::{Disk, SimDisk};

    use super::*;

    /// The layout with an example as the one module, as it is shipped or rebuilt with `more`.
    fn with_module(example: &str, params: &str, more: &[u8]) -> String {
        let text = format!(
            "version: 1\npipeline: p\ntopic: t\nschema: {{a: int, b: int}}\n\
             steps: [wasm: {{module: m.wasm, params: {params}}}]\n\
             sinks: {{s: {{parquet: {{to: out, partition_by: [a]}}}}}}\n"
        );
        let pipeline = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None).unwrap();
        let path = format!("../../wasm-filters/examples/{example}/{example}.wasm");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
        let module = [&std::fs::read(path).unwrap(), more].concat();
        let disk = SimDisk::new(1);
        let file = disk.create(Path::new("m.wasm")).unwrap();
        file.write_at(&[IoSlice::new(&module)], 0).unwrap();
        let filters = Filters::load(&pipeline, &disk).unwrap();
        layout(&pipeline, &pipeline.sinks[0], &filters)
    }

    /// A custom section called `x`, with which a module does the same and is another one.
    const SECTION: &[u8] = &[0, 2, 1, b'x'];

    #[test]
    fn steps_of_a_sink_are_part_of_its_layout_alone() {
        let layouts = |own: &str| {
            let text = format!(
                "version: 1\npipeline: p\ntopic: t\nschema: {{a: int}}\nsinks:\n  \
                 first: {{steps: [set: {{day: {own}}}], parquet: {{to: x, partition_by: [day]}}}}\n  \
                 second: {{parquet: {{to: y}}}}\n"
            );
            let pipeline = Pipeline::parse("p.yaml", text.as_bytes(), &|_| None).unwrap();
            let layout = |sink| layout(&pipeline, &pipeline.sinks[sink], &Filters::default());
            (layout(0), layout(1))
        };
        let (of_a, of_b) = (layouts("body.a + 1"), layouts("body.a + 2"));
        assert_ne!(of_a.0, of_b.0);
        assert_eq!(of_a.1, of_b.1);
    }

    #[test]
    fn a_module_that_changes_no_column_may_be_rebuilt() {
        let layout = with_module("drop-crawlers", "{}", &[]);
        assert_eq!(with_module("drop-crawlers", "{}", SECTION), layout);
        assert_eq!(with_module("drop-crawlers", "{agents: [bot]}", &[]), layout);
    }

    #[test]
    fn a_module_that_may_change_columns_is_part_of_the_layout() {
        let layout = with_module("mask", "{fields: [a]}", &[]);
        assert_eq!(with_module("mask", "{fields: [a]}", &[]), layout);
        assert_ne!(with_module("mask", "{fields: [a]}", SECTION), layout);
        assert_ne!(with_module("mask", "{fields: [b]}", &[]), layout);
    }
}
