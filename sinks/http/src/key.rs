use millrace_connect_api::{Item, offset_ranges};
use sha2::{Digest, Sha256};

/// What a request is called: the same name for the same messages of the same pipeline and sink, and
/// for no others.
///
/// It is 128 bits of the SHA-256 of the pipeline, the sink, and for each range of offsets the
/// broker, the topic, the queue and both ends, each behind its length in eight bytes.
pub(crate) fn key<'a>(
    pipeline: &str,
    sink: &str,
    items: impl IntoIterator<Item = &'a Item>,
) -> String {
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    add(pipeline.as_bytes());
    add(sink.as_bytes());
    for range in offset_ranges(items) {
        add(range.queue.broker.as_bytes());
        add(range.queue.topic.as_str().as_bytes());
        for number in [u64::from(range.queue.queue.0), range.from.0, range.to.0] {
            add(&number.to_be_bytes());
        }
    }
    let digits = hash.finalize();
    let digits: String = digits[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{pipeline}-{sink}-{digits}")
}
