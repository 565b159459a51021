use millrace_engine::Found;
use millrace_protocol::{PullAnswer, PullMessage, PullStatus, ResponseCode};
use millrace_store::{Entry, Plan, QueueNo, ReadError};
use millrace_types::{PhysicalOffset, QueueOffset, TagsCode};

use super::broker::check_refused;
use super::peer::{long_pull, pull};
use super::*;

#[test]
fn a_damaged_message_hides_none_of_its_neighbours() {
    let disk = SimDisk::new(1);
    let server = Server::start(Arc::new(disk.clone()), config()).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    for body in ["first", "second", "third"] {
        peer.send("t", body.as_bytes());
    }
    let segment = "/data/commitlog/00000000000000000000";
    let bytes = disk.file_bytes(segment).unwrap();
    let at = bytes.windows(6).position(|window| window == b"second").unwrap();
    disk.flip_bit(segment, at as u64, 1);

    let count = || server.local().core().shared().quarantine.count();
    for _ in 0..2 {
        let all = peer.call(&pull("t", QueueOffset(0)));
        assert_eq!(all.bodies(), ["first", "third"]);
        assert_eq!(PullAnswer::decode(&all.header()).unwrap().next, QueueOffset(3));
        assert_eq!(peer.call(&pull("t", QueueOffset(1))).bodies(), ["third"]);
        assert_eq!(count(), 1, "it is told and counted once");
    }
    // Where nothing else is there, it is not waited for.
    let alone = PullMessage { messages_max: 1, ..pull("t", QueueOffset(1)) };
    let head = PullAnswer::decode(&peer.call(&alone).header()).unwrap();
    assert_eq!((head.status, head.next), (PullStatus::NothingMatched, QueueOffset(2)));
    assert_eq!(peer.call(&pull("t", head.next)).bodies(), ["third"]);
}

#[test]
fn a_damaged_record_of_a_queue_without_a_name_is_not_passed_over() {
    let disk = SimDisk::new(1);
    let server = Server::start(Arc::new(disk.clone()), config()).unwrap();
    server.connect(HeaderKind::Json).send("t", b"x");
    let segment = "/data/commitlog/00000000000000000000";
    let bytes = disk.file_bytes(segment).unwrap();
    let size = u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    disk.flip_bit(segment, u64::from(size) - 1, 1);

    let core = server.local().core().clone();
    let shared = core.shared();
    let mut queues = (0..).map(QueueNo::from_index);
    let named = |no: &QueueNo, topic: &str| {
        shared.queue_name(*no).0.is_some_and(|name| name.as_str() == topic)
    };
    let queue = queues.find(|no| named(no, "t")).unwrap();
    let entry = Entry { physical_offset: PhysicalOffset(0), size, tags_code: TagsCode(0) };
    let plan = Plan { from: QueueOffset(0), entries: vec![entry] };
    let offset = QueueOffset(1);
    let found = Found {
        queue,
        plan,
        verdicts: Vec::new(),
        count_max: 1,
        bytes_max: 1 << 20,
        held: None,
        next: offset,
        min: QueueOffset(0),
        max: offset,
    };
    assert!(matches!(crate::answers::read(&found, shared), Ok((next, _)) if next == offset));
    core.close().unwrap();
    let unread = crate::answers::read(&found, shared).unwrap_err();
    assert!(matches!(unread.error, ReadError::Damaged { .. }), "{unread:?}");
    assert_eq!(unread.place.unwrap(), "?/0 offset 0");
}

#[test]
fn a_held_pull_is_not_stuck_at_a_damaged_message() {
    let disk = SimDisk::new(1);
    let server = Server::start(Arc::new(disk.clone()), config()).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send("t", b"damaged");
    let segment = "/data/commitlog/00000000000000000000";
    let bytes = disk.file_bytes(segment).unwrap();
    let at = bytes.windows(7).position(|window| window == b"damaged").unwrap();
    disk.flip_bit(segment, at as u64, 1);
    let first = peer.call(&pull("t", QueueOffset(0)));
    assert_eq!(PullAnswer::decode(&first.header()).unwrap().next, QueueOffset(1));
    let held = long_pull("t", QueueOffset(1));
    peer.ask(&held);
    let mut other = server.connect(HeaderKind::Json);
    other.send("t", b"next");
    assert_eq!(peer.receive().bodies(), ["next"]);
}

#[test]
fn what_cannot_be_read_now_stays_an_error_that_names_its_place() {
    let disk = SimDisk::new(1);
    let server = ServerConfig { segment_bytes: 64 << 10, ..config() };
    let server = Server::start(Arc::new(disk.clone()), server).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    for n in 0..100 {
        peer.send("t", format!("{n:04000}").as_bytes());
    }
    let segment = "/data/commitlog/00000000000000000000";
    let bytes = disk.file_bytes(segment).unwrap();
    let bad = bytes.windows(4000).position(|window| window == format!("{:04000}", 3).as_bytes());
    let sector = bad.unwrap() as u64 / 512 + 1;
    disk.inject(millrace_disk::Fault::BadSector { path: segment.into(), sector });
    let before = PullMessage { messages_max: 5, ..pull("t", QueueOffset(0)) };
    assert_eq!(peer.call(&before).bodies().len(), 3, "what comes before it is given");
    for _ in 0..2 {
        let refused = peer.call(&pull("t", QueueOffset(3)));
        check_refused(&refused, ResponseCode::SYSTEM_ERROR, "t/0 offset 3: cannot read");
    }
    let behind = PullMessage { messages_max: 1, ..pull("t", QueueOffset(4)) };
    assert_eq!(peer.call(&behind).bodies().len(), 1);
    assert_eq!(server.local().core().shared().quarantine.count(), 0);
}
