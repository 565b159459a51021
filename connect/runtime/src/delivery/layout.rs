use millrace_config::{Pipeline, SinkKind, SinkSpec, StepSpec};

use crate::filters::Filters;

/// Fingerprint of what decides the partition of a message: the same as long as every message
/// goes to the partition it went to before. It may also change where that is so.
///
/// [`Resume::ahead`](millrace_connect_api::Resume) says of partitions how far they are committed.
/// With another layout it would skip rows that are nowhere, and repeat others.
pub(super) fn layout(pipeline: &Pipeline, sink: &SinkSpec, filters: &Filters) -> String {
    let SinkKind::Parquet(parquet) = &sink.kind;
    let mut text = String::new();
    for name in &parquet.partition_by {
        match pipeline.schema.column(name) {
            Some(column) => text.push_str(&format!("{name} {:?}\n", column.data_type)),
            None => text.push_str(&format!("{name}\n")),
        }
    }
    if !parquet.partition_by.is_empty() {
        text.push_str(&format!("{:?}\n", pipeline.decode));
        let sets = pipeline.steps.iter().filter_map(|step| match step {
            StepSpec::Set(columns) => Some(columns),
            StepSpec::Filter { .. } | StepSpec::Wasm(_) => None,
        });
        for column in sets.flatten() {
            text.push_str(&format!("{} {}\n", column.name, column.value.text));
        }
        // A module may change what is in the columns.
        text.push_str(&filters.described(pipeline));
    }
    format!("{:016x}", fnv(text.as_bytes()))
}

/// FNV-1a with 64 bits: the ledger keeps it, so it must be the same in every build.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
