use miniz_oxide::deflate::compress_to_vec_zlib;
use miniz_oxide::inflate::decompress_to_vec_zlib_with_limit;

use super::DataVersion;
use crate::TopicConfig;
use crate::json::{BodyError, Json, ObjectWriter};
use crate::wire::{Reader, push_bytes32};

/// What the body of a registration may take once it is inflated: half a million topics, and far
/// below what 16 MiB of zeroes inflate to.
pub const INFLATED_BYTES_MAX: usize = 32 << 20;
/// Above so many bytes it takes no more than so many times what came. Lines that differ in a few
/// digits, each with 100 bytes of the same attributes, are 80 times as long as their stream.
const INFLATED_FREELY_BYTES_MAX: usize = 1 << 20;
const INFLATED_RATIO_MAX: usize = 200;
/// Lines of a body, the shortest of which have 11 bytes. A name server has room for 500,000 topics.
const LINES_MAX: u32 = 1 << 19;
/// Values of a body in JSON, nine per topic. A frame of 16 MiB ends at 70,000 topics anyway.
const VALUES_MAX: usize = 1 << 20;
/// One byte less of a frame is not worth more than this.
const LEVEL: u8 = 6;

/// The topics that a broker registers. (In RocketMQ, `TopicConfigSerializeWrapper`.)
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegisteredTopics {
    /// When they last changed.
    pub version: DataVersion,
    /// All of them, or only those that have changed.
    pub topics: Vec<TopicConfig>,
}

/// How the body of a registration is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// JSON.
    None,
    /// A line per topic, each with its length, together in a zlib stream.
    Zlib,
}

/// Why the body of a registration cannot be read. The texts are those that brokers log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistrationError {
    /// It is not what was sent.
    #[error("crc32 not match")]
    Checksum,
    /// It is not a zlib stream, or inflates to too much.
    #[error(
        "the body is no zlib stream, or one of more than {INFLATED_BYTES_MAX} bytes or \
         {INFLATED_RATIO_MAX} times its own"
    )]
    Zlib,
    /// It does not say what it has to.
    #[error(transparent)]
    Body(#[from] BodyError),
}

/// The checksum that a registration's header carries: CRC-32 without its highest bit.
pub(super) fn checksum(body: &[u8]) -> i32 {
    (crc32fast::hash(body) & 0x7fff_ffff) as i32
}

impl RegisteredTopics {
    pub(super) fn decode(body: &[u8], compression: Compression) -> Result<Self, RegistrationError> {
        match compression {
            // Old brokers register without a body, to say that they are there.
            _ if body.is_empty() => Ok(Self::default()),
            Compression::None => Ok(Self::from_json(body)?),
            Compression::Zlib => {
                let most = body.len().saturating_mul(INFLATED_RATIO_MAX);
                let most = most.clamp(INFLATED_FREELY_BYTES_MAX, INFLATED_BYTES_MAX);
                let inflated = decompress_to_vec_zlib_with_limit(body, most);
                let inflated = inflated.map_err(|_| RegistrationError::Zlib)?;
                Ok(Self::from_lines(&inflated)?)
            }
        }
    }

    pub(super) fn encode(&self, compression: Compression) -> Vec<u8> {
        let mut out = Vec::new();
        match compression {
            Compression::None => self.push_json(&mut out),
            Compression::Zlib => {
                self.push_lines(&mut out);
                out = compress_to_vec_zlib(&out, LEVEL);
            }
        }
        out
    }

    fn from_json(body: &[u8]) -> Result<Self, BodyError> {
        let json = Json::parse_within(body, VALUES_MAX)?;
        // Brokers before 3.0.11 send the inner object alone.
        let root = json.root();
        let wrapper = root.get("topicConfigSerializeWrapper").unwrap_or(root);
        let table =
            wrapper.get("topicConfigTable").ok_or(BodyError::Missing("topicConfigTable"))?;
        let topics = table.members().map(|(_, topic)| TopicConfig::read(topic));
        let version = DataVersion::read(wrapper.get("dataVersion"));
        Ok(Self { version, topics: topics.collect::<Result<_, _>>()? })
    }

    fn push_json(&self, out: &mut Vec<u8>) {
        let version = |object: &mut ObjectWriter<'_>| self.version.members(object);
        ObjectWriter::write(out, |object| {
            object.list("filterServerList", [(); 0], |_, ()| {});
            object.object("topicConfigSerializeWrapper", |object| {
                object.object("dataVersion", version).object("mappingDataVersion", version);
                object.object("topicConfigTable", |table| {
                    for topic in &self.topics {
                        table.object(&topic.topic, |object| topic.members(object));
                    }
                });
                object.object("topicQueueMappingDetailMap", |_| {});
                object.object("topicQueueMappingInfoMap", |_| {});
            });
        });
    }

    /// What follows the topics, filter servers and static mappings, is passed over.
    pub(super) fn from_lines(bytes: &[u8]) -> Result<Self, BodyError> {
        let mut reader = Reader::new(bytes);
        let version = reader.bytes32().ok_or(BodyError::Lengths)?;
        let version = DataVersion::read(Some(Json::parse(version)?.root()));
        let count = reader.u32().filter(|count| *count <= LINES_MAX).ok_or(BodyError::Lengths)?;
        let mut topics = Vec::new();
        for _ in 0..count {
            let line = reader.bytes32().ok_or(BodyError::Lengths)?;
            topics.push(from_line(line).ok_or(BodyError::Missing("topicConfigTable"))?);
        }
        Ok(Self { version, topics })
    }

    fn push_lines(&self, out: &mut Vec<u8>) {
        let mut version = Vec::new();
        self.version.write(&mut version);
        push_bytes32(out, &version);
        let count = u32::try_from(self.topics.len()).expect("topics are in memory");
        out.extend_from_slice(&count.to_be_bytes());
        for TopicConfig { topic, read_queues, write_queues, permission, .. } in &self.topics {
            let line = format!("{topic} {read_queues} {write_queues} {permission} SINGLE_TAG {{}}");
            push_bytes32(out, line.as_bytes());
        }
        push_bytes32(out, b"[]");
        out.extend_from_slice(&0u32.to_be_bytes());
    }
}

/// `name readQueues writeQueues permission filterType [attributes]`
fn from_line(line: &[u8]) -> Option<TopicConfig> {
    let mut parts = std::str::from_utf8(line).ok()?.split(' ');
    Some(TopicConfig {
        topic: parts.next()?.to_owned(),
        read_queues: parts.next()?.parse().ok()?,
        write_queues: parts.next()?.parse().ok()?,
        permission: parts.next()?.parse().ok()?,
        // Lines do not say.
        order: false,
        ..TopicConfig::default()
    })
}
