use millrace_disk::{Disk, Fault};
use millrace_protocol::RequestCode;

use super::super::admin::Tool;
use super::*;

fn modules(disk: &SimDisk) -> Vec<String> {
    match disk.list("/data/filters".as_ref()) {
        Ok(entries) => entries.into_iter().map(|entry| entry.name).collect(),
        Err(_) => Vec::new(),
    }
}

#[test]
fn what_is_attached_survives_a_stop_and_a_power_cut() {
    for is_cut in [false, true] {
        let disk = SimDisk::new(1);
        let sync = ServerConfig { flush: FlushMode::Sync, ..config() };
        let server = Server::start(Arc::new(disk.clone()), sync).unwrap();
        let mut peer = server.connect(HeaderKind::Json);
        peer.send_all("t", &["a", "b"]);
        peer.done(&attach(Some("g"), Some("t"), &begins('a')));
        let mut before = peer.filters();
        let disk = if is_cut {
            disk.image(7)
        } else {
            server.stop().unwrap();
            disk
        };
        let server = start_on(&disk);
        let mut peer = server.connect(HeaderKind::Json);
        let after = peer.filters();
        // Counts are those since the start, and say so.
        assert!(before[0].counted_from_ms >= before[0].attached_at_ms);
        assert!(after[0].counted_from_ms > before[0].counted_from_ms);
        (before[0].kept, before[0].counted_from_ms) = (0, after[0].counted_from_ms);
        assert_eq!(after, before);
        assert_eq!(peer.given("g", "t"), (vec!["a".to_owned()], 2), "cut: {is_cut}");
    }
}

#[test]
fn what_is_attached_to_a_topic_goes_with_it() {
    let disk = SimDisk::new(1);
    let sync = ServerConfig { flush: FlushMode::Sync, ..config() };
    let server = Server::start(Arc::new(disk.clone()), sync).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["b1"]);
    peer.send_all("st", &["b1"]);
    let places = [(None, "t"), (Some("g"), "t"), (None, "st"), (Some("g"), "st")];
    for (group, topic) in places {
        peer.done(&attach(group, Some(topic), &begins('a')));
    }
    peer.done(&attach(Some("h"), None, &begins('c')));
    assert_eq!(peer.given("g", "t").0, [""; 0]);
    // A filter for a topic that is not there yet stays where somebody deletes that.
    peer.done(&attach(None, Some("later"), &begins('d')));
    for topic in ["t", "later"] {
        let deleted =
            peer.call(&Tool(RequestCode::DELETE_TOPIC_IN_BROKER, &[("topic", topic)], ""));
        assert_eq!(deleted.code(), ResponseCode::SUCCESS, "{}", deleted.remark());
    }
    let left = |peer: &mut Peer| {
        let filters = peer.filters().into_iter();
        let mut places: Vec<_> = filters.map(|filter| (filter.group, filter.topic)).collect();
        places.sort();
        places
    };
    let expected =
        [(None, Some("later")), (None, Some("st")), (Some("g"), Some("st")), (Some("h"), None)];
    let expected =
        expected.map(|(group, topic)| (group.map(str::to_owned), topic.map(str::to_owned)));
    assert_eq!(left(&mut peer), expected);
    // A new topic of that name, which counts on from the old one, is given whole.
    peer.send_all("t", &["b2"]);
    assert_eq!(peer.call(&pull_of("g", "t", 1)).bodies(), ["b2"]);

    // The log says the same, after a power cut and after a stop.
    let image = disk.image(7);
    server.stop().unwrap();
    for disk in [image, disk] {
        let server = start_on(&disk);
        let mut peer = server.connect(HeaderKind::Json);
        assert_eq!(left(&mut peer), expected);
        assert_eq!(peer.call(&pull_of("g", "t", 1)).bodies(), ["b2"]);
    }
}

#[test]
fn modules_that_nobody_has_are_removed() {
    let disk = SimDisk::new(1);
    let sync = ServerConfig { flush: FlushMode::Sync, ..config() };
    let server = Server::start(Arc::new(disk.clone()), sync.clone()).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    peer.done(&attach(Some("g"), None, &begins('a')));
    peer.done(&attach(Some("h"), None, &begins('a')));
    assert_eq!(modules(&disk).len(), 1, "they have the same module");
    peer.done(&attach(Some("g"), None, &begins('b')));
    assert_eq!(modules(&disk).len(), 2);
    peer.done(&FilterRequest::Detach(place(Some("h"), None)));
    assert_eq!(modules(&disk), [format!("{}.wasm", peer.filters()[0].sha256)]);
    // What a crash has left goes with the next start, and nothing else does.
    server.stop().unwrap();
    for name in ["draft", &format!("{}.wasm", "0".repeat(64)), "README"] {
        disk.create(&std::path::Path::new("/data/filters").join(name)).unwrap();
    }
    let server = Server::start(Arc::new(disk.clone()), sync).unwrap();
    let mut peer = server.connect(HeaderKind::Json);
    let used = format!("{}.wasm", peer.filters()[0].sha256);
    let mut expected = vec!["README".to_owned(), used];
    expected.sort();
    assert_eq!(modules(&disk), expected);
}

#[test]
fn without_its_module_a_consumer_waits_for_an_administrator() {
    for is_damaged in [false, true] {
        let disk = SimDisk::new(1);
        let server = start_on(&disk);
        let mut peer = server.connect(HeaderKind::Json);
        peer.send_all("t", &["a", "b"]);
        peer.done(&attach(Some("g"), None, &begins('a')));
        server.stop().unwrap();
        let path = format!("/data/filters/{}", modules(&disk)[0]);
        match is_damaged {
            true => disk.flip_bit(&path, 40, 1),
            false => disk.remove(path.as_ref()).unwrap(),
        }
        let server = start_on(&disk);
        let mut peer = server.connect(HeaderKind::Json);
        let refused = peer.call(&pull_of("g", "t", 0));
        assert_eq!(refused.code(), ResponseCode::SYSTEM_ERROR);
        let remark = refused.remark();
        assert!(
            remark.starts_with("the filter attached to the group g cannot be used: ")
                && remark.contains("/data/filters/"),
            "{remark}"
        );
        assert!(peer.filters()[0].trouble.is_some());
        assert_eq!(peer.given("h", "t").0.len(), 2, "others are served");
        // Attached again it is whole again.
        peer.done(&attach(Some("g"), None, &begins('a')));
        assert_eq!(peer.given("g", "t").0, ["a"]);
        server.stop().unwrap();
        let server = start_on(&disk);
        assert_eq!(server.connect(HeaderKind::Json).given("g", "t").0, ["a"]);
    }
}

#[test]
fn a_power_cut_at_any_step_leaves_the_filter_whole_or_none() {
    // How many operations on the disk attaching takes.
    let sync = || ServerConfig { flush: FlushMode::Sync, ..config() };
    let with_topic = |seed| {
        let disk = SimDisk::new(seed);
        let server = Server::start(Arc::new(disk.clone()), sync()).unwrap();
        let mut peer = server.connect(HeaderKind::Json);
        peer.send_all("t", &["a", "b"]);
        peer.done(&attach(Some("g"), None, &begins('b')));
        (disk, server, peer)
    };
    let (disk, server, mut peer) = with_topic(0);
    let before = disk.operations();
    peer.done(&attach(Some("g"), None, &begins('a')));
    let steps = disk.operations() - before;
    drop(server);
    assert!(steps >= 6, "{steps}");
    for step in 0..=steps + 1 {
        let (disk, server, mut peer) = with_topic(step);
        disk.cut_after(step);
        peer.ask(&attach(Some("g"), None, &begins('a')));
        let is_told = peer.receive_or_end().is_some_and(|a| a.code() == ResponseCode::SUCCESS);
        drop((peer, server));
        let image = disk.power_cut();
        let server = Server::start(Arc::new(image.clone()), sync()).unwrap();
        let mut peer = server.connect(HeaderKind::Json);
        let (given, end) = peer.given("g", "t");
        assert_eq!(end, 2, "step {step}");
        assert!(given == ["a"] || (given == ["b"] && !is_told), "step {step}: {given:?}");
        assert_eq!(modules(&image).len(), 1, "step {step}");
    }
}

#[test]
fn a_full_disk_is_told_and_changes_nothing() {
    let disk = SimDisk::new(1);
    let server = start_on(&disk);
    let mut peer = server.connect(HeaderKind::Json);
    peer.send_all("t", &["a", "b"]);
    peer.done(&attach(Some("g"), None, &begins('a')));
    disk.inject(Fault::Capacity { bytes: 0 });
    let refused = peer.call(&attach(Some("g"), None, &begins('b')));
    assert_eq!(refused.code(), ResponseCode::MR_DISK_FULL, "{}", refused.remark());
    assert_eq!(peer.given("g", "t").0, ["a"]);
}
