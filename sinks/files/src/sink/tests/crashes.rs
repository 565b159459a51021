use std::sync::Arc;

use millrace_connect_api::{Cut, FileSink, PartState, Resume, SinkError};
use millrace_disk::{Fault, SimDisk};
use proptest::prelude::*;

use super::rig::*;
use crate::{FileSinkError, FilesOptions, Format, Rotate, TextCompression};

/// What a worker does, one after the other.
#[derive(Clone, Copy, Debug)]
enum Action {
    Feed {
        queue: u32,
        count: u64,
    },
    Commit(Cut),
    /// The process ends.
    Kill(Moment),
    /// The machine ends.
    PowerCut(Moment),
}

/// When a worker ends: how far a commit got.
#[derive(Clone, Copy, Debug)]
enum Moment {
    BeforePlan,
    Planned(Cut),
    Recorded(Cut),
    PublishedSome(Cut),
    PublishedAll(Cut),
}

fn cuts() -> impl Strategy<Value = Cut> {
    prop_oneof![3 => Just(Cut::Due), 1 => Just(Cut::All)]
}

fn moments() -> impl Strategy<Value = Moment> {
    prop_oneof![
        Just(Moment::BeforePlan),
        cuts().prop_map(Moment::Planned),
        cuts().prop_map(Moment::Recorded),
        cuts().prop_map(Moment::PublishedSome),
        cuts().prop_map(Moment::PublishedAll),
    ]
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let action = prop_oneof![
        6 => (0..3_u32, 0..9_u64).prop_map(|(queue, count)| Action::Feed { queue, count }),
        3 => cuts().prop_map(Action::Commit),
        1 => moments().prop_map(Action::Kill),
        1 => moments().prop_map(Action::PowerCut),
    ];
    proptest::collection::vec(action, 0..40)
}

fn logs() -> impl Strategy<Value = Vec<Vec<Row>>> {
    let partition = prop_oneof![
        1 => Just(None),
        6 => (0..4_u8).prop_map(|n| Some(format!("p{n}"))),
    ];
    let row = (partition, prop::bool::weighted(0.8))
        .prop_map(|(partition, selected)| Row { partition, selected });
    proptest::collection::vec(proptest::collection::vec(row, 0..40), 3)
}

fn small_parts() -> impl Strategy<Value = FilesOptions> {
    let rows = prop_oneof![Just(None), (1..9_u64).prop_map(Some)];
    let ms = prop_oneof![Just(None), (0..8_u64).prop_map(|n| Some(n * 10))];
    let memory = prop_oneof![Just(20_000), Just(100_000), Just(1 << 30)];
    let format = prop::sample::select(formats());
    let options = |(rows, every_ms, idle_ms, max_open, memory_bytes_max, format)| {
        let rotate = Rotate { rows, bytes: None, every_ms, idle_ms };
        FilesOptions { rotate, max_open, memory_bytes_max, format, ..options() }
    };
    (rows, ms.clone(), ms, 1..6_usize, memory, format).prop_map(options)
}

/// Takes a worker to a moment, as far as the ledger is concerned.
fn run_to(moment: Moment, worker: &mut Worker<'_>, ledger: &mut Ledger) -> Result<(), SinkError> {
    let (Moment::Planned(cut)
    | Moment::Recorded(cut)
    | Moment::PublishedSome(cut)
    | Moment::PublishedAll(cut)) = moment
    else {
        return Ok(());
    };
    let plan = worker.plan(cut)?;
    if matches!(moment, Moment::Planned(_)) {
        return Ok(());
    }
    ledger.planned = Some(plan.clone());
    let publish = match moment {
        Moment::PublishedSome(_) => plan.parts.len() / 2,
        Moment::PublishedAll(_) => plan.parts.len(),
        _ => 0,
    };
    plan.parts[..publish].iter().try_for_each(|part| ready(worker.sink.publish(part)).map(drop))
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 2000, ..ProptestConfig::default() })]

    /// Whatever the batches, the rotation and the crashes: every row is in one committed part.
    #[test]
    fn every_row_is_in_exactly_one_committed_part(
        log in logs(), options in small_parts(), actions in actions(), seed in any::<u64>(),
    ) {
        let mut disk = SimDisk::new(seed);
        let mut ledger = Ledger::default();
        let mut epoch = 1;
        let with_epoch = |epoch| FilesOptions { worker_tag: epoch, ..options.clone() };
        let mut worker = Worker::start(&disk, &log, with_epoch(epoch), &mut ledger).unwrap();
        for action in actions {
            match action {
                Action::Feed { queue, count } => drop(worker.feed(queue, count).unwrap()),
                Action::Commit(cut) => worker.commit(cut, &mut ledger).unwrap(),
                Action::Kill(moment) | Action::PowerCut(moment) => {
                    run_to(moment, &mut worker, &mut ledger).unwrap();
                    disk = match action {
                        Action::Kill(_) => disk.kill(),
                        _ => disk.power_cut(),
                    };
                    judge(&disk, &log);
                    epoch += 1;
                    worker = Worker::start(&disk, &log, with_epoch(epoch), &mut ledger).unwrap();
                }
            }
        }
        worker.finish(&mut ledger).unwrap();
        judge_finished(&disk, &log, &ledger);
    }
}

/// A log of three queues whose partitions come and go.
fn fixed_log() -> Vec<Vec<Row>> {
    let rows = |queue: usize| (0..25).map(move |n| row(["a", "b", "c"][(n / 3 + queue) % 3]));
    (0..3).map(|queue| rows(queue).collect()).collect()
}

fn fixed_options(format: &Format, worker_tag: u64) -> FilesOptions {
    let rotate = Rotate { rows: Some(8), bytes: None, every_ms: Some(60), idle_ms: None };
    FilesOptions { rotate, worker_tag, format: format.clone(), ..options() }
}

fn fixed_run(
    disk: &SimDisk,
    log: &[Vec<Row>],
    format: &Format,
    ledger: &mut Ledger,
    tag: u64,
) -> Result<(), SinkError> {
    let mut worker = Worker::start(disk, log, fixed_options(format, tag), ledger)?;
    for round in 0..6 {
        worker.feed(round % 3, 6)?;
        worker.commit(Cut::Due, ledger)?;
    }
    worker.finish(ledger)
}

/// Power fails during each single operation of a run on the disk, and again during the recovery.
#[test]
fn power_may_fail_at_every_operation() {
    let log = fixed_log();
    for format in [parquet(), Format::Jsonl(TextCompression::Zstd)] {
        let whole = SimDisk::new(0);
        fixed_run(&whole, &log, &format, &mut Ledger::default(), 1).unwrap();
        let operations = whole.operations();
        assert!(operations > 60, "a run of {operations} operations shows little");
        for after in 0..operations {
            let disk = SimDisk::new(after);
            let mut ledger = Ledger::default();
            disk.cut_after(after);
            fixed_run(&disk, &log, &format, &mut ledger, 1).expect_err("power has failed");
            let disk = disk.power_cut();
            judge(&disk, &log);

            disk.cut_after(after % 7);
            // Near the end of the log this one may get through before power fails again.
            let _ = fixed_run(&disk, &log, &format, &mut ledger, 2);
            let disk = disk.power_cut();
            judge(&disk, &log);

            fixed_run(&disk, &log, &format, &mut ledger, 3).unwrap();
            judge_finished(&disk, &log, &ledger);
        }
    }
}

/// The disk fails once at each operation; the process ends, and the next one goes on, with a sink
/// of the same format or of another.
#[test]
fn the_disk_may_fail_at_every_operation() {
    let log = fixed_log();
    let formats = formats();
    for nth in (1..200).step_by(3) {
        let disk = SimDisk::new(nth);
        let mut ledger = Ledger::default();
        disk.inject(Fault::FailOperation { nth });
        let before = &formats[nth as usize % formats.len()];
        let after = &formats[nth as usize / 9 % formats.len()];
        if fixed_run(&disk, &log, before, &mut ledger, 1).is_err() {
            let disk = disk.kill();
            fixed_run(&disk, &log, after, &mut ledger, 2).unwrap();
            judge_finished(&disk, &log, &ledger);
        }
    }
}

/// One row in partition `a`, planned.
fn planned(disk: &SimDisk) -> (crate::FilesSink, millrace_connect_api::Part) {
    let mut sink = open(disk, options());
    ready(sink.write(&batch(0, 0, &[row("a")]), at(0))).unwrap();
    let mut plan = ready(sink.plan(at(0), Cut::All)).unwrap();
    (sink, plan.parts.remove(0))
}

fn probe(disk: &SimDisk, part: &millrace_connect_api::Part) -> PartState {
    ready(open(disk, options()).probe(part)).unwrap()
}

#[test]
fn a_planned_part_survives_a_power_cut_as_staged() {
    let disk = SimDisk::new(1);
    let (_, part) = planned(&disk);
    for seed in 0..20 {
        assert_eq!(probe(&disk.image(seed), &part), PartState::Staged);
    }
}

#[test]
fn a_published_part_survives_a_power_cut_as_published() {
    let disk = SimDisk::new(1);
    let (mut sink, part) = planned(&disk);
    ready(sink.publish(&part)).unwrap();
    for seed in 0..20 {
        assert_eq!(probe(&disk.image(seed), &part), PartState::Published);
    }
    ready(sink.publish(&part)).unwrap();
}

#[test]
fn a_part_that_probes_as_published_stays_published() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let (mut sink, part) = planned(&disk);
        // The rename happens, the sync of its directory does not, and the process ends.
        disk.inject(Fault::FailSyncDir { nth: 1 });
        ready(sink.publish(&part)).unwrap_err();
        let disk = disk.kill();
        assert_eq!(probe(&disk, &part), PartState::Published);
        let disk = disk.power_cut();
        assert_eq!(probe(&disk, &part), PartState::Published);
    }
}

#[test]
fn what_is_neither_staged_nor_published_is_gone() {
    let disk = SimDisk::new(1);
    let (mut sink, part) = planned(&disk);
    ready(sink.abort(&part)).unwrap();
    assert_eq!(probe(&disk, &part), PartState::Gone);
    ready(sink.abort(&part)).unwrap();
    ready(sink.publish(&part)).unwrap_err();
}

/// A part of text that got lost before it was visible comes out again byte for byte, however the
/// rows are cut into batches this time. (A Parquet file says its number, which is another one.)
#[test]
fn a_lost_part_is_made_again_with_the_same_bytes() {
    let text = formats().into_iter().filter(|format| !matches!(format, Format::Parquet(_)));
    for format in text {
        let disk = SimDisk::new(1);
        let planned = |tag: u64, id, size: usize| {
            let options = FilesOptions { format: format.clone(), worker_tag: tag, ..options() };
            let shared = Arc::new(disk.clone());
            let mut sink = crate::FilesSink::open(shared, options, Resume::default(), id).unwrap();
            for from in (0..5_000).step_by(size) {
                let rows = vec![row("a"); size.min(5_000 - from)];
                ready(sink.write(&batch(0, from as u64, &rows), at(0))).unwrap();
            }
            let plan = ready(sink.plan(at(0), Cut::All)).unwrap();
            let [part] = &plan.parts[..] else { panic!("{:?}", plan.parts) };
            (sink, part.clone())
        };
        let (mut sink, lost) = planned(1, 1, 5_000);
        ready(sink.abort(&lost)).unwrap();
        assert_eq!(ready(sink.probe(&lost)).unwrap(), PartState::Gone);
        let (mut sink, again) = planned(2, 2, 777);
        assert_eq!(ready(sink.probe(&again)).unwrap(), PartState::Staged);
        assert_eq!((again.bytes, again.checksum), (lost.bytes, lost.checksum));
        assert_ne!(again.name, lost.name);
    }
}

#[test]
fn a_damaged_staged_part_is_gone() {
    let disk = SimDisk::new(1);
    let (_, part) = planned(&disk);
    disk.flip_bit(format!("/lake/events/{}", part.staged), 40, 3);
    assert_eq!(probe(&disk, &part), PartState::Gone);
}

/// Publishes a part where a file of `bytes` already has its name.
fn publish_over(bytes: impl FnOnce(&[u8]) -> Vec<u8>) -> (SimDisk, String, Result<(), SinkError>) {
    use millrace_disk::Disk;
    let disk = SimDisk::new(1);
    let (mut sink, part) = planned(&disk);
    let path = format!("/lake/events/{}", part.name);
    let staged = format!("/lake/events/{}", part.staged);
    let other = disk.create(path.as_ref()).unwrap();
    let bytes = bytes(&disk.file_bytes(&staged).unwrap());
    other.write_at(&[std::io::IoSlice::new(&bytes)], 0).unwrap();
    let published = ready(sink.publish(&part));
    assert_eq!(ready(sink.probe(&part)).is_ok(), published.is_ok());
    assert_eq!(disk.file_bytes(&path).unwrap(), bytes);
    (disk, path, published.map(drop))
}

#[test]
fn another_file_of_the_name_is_never_replaced_and_never_taken_for_the_part() {
    let as_long = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 1).collect();
    for (_, path, published) in [publish_over(|_| b"other".to_vec()), publish_over(as_long)] {
        let error = published.unwrap_err();
        assert!(cause(&error).to_string().starts_with(&path), "{}", cause(&error));
    }
}

#[test]
fn a_part_that_is_there_already_leaves_nothing_staged() {
    let (disk, _, published) = publish_over(<[u8]>::to_vec);
    published.unwrap();
    assert_eq!(staged(&disk, "/lake/events"), Vec::<String>::new());
}

fn cause(error: &SinkError) -> &FileSinkError {
    match error {
        SinkError::Broken(cause) => cause.downcast_ref().expect("trouble with a file"),
        SinkError::Unavailable(_) | SinkError::Busy { .. } => panic!("files are never unavailable"),
    }
}

#[test]
fn a_full_disk_is_one_line_with_the_files_name() {
    let disk = SimDisk::new(1);
    let mut sink = open(&disk, options());
    ready(sink.write(&batch(0, 0, &[row("a")]), at(0))).unwrap();
    disk.inject(Fault::FullWrite { nth: 1 });
    let error = ready(sink.plan(at(0), Cut::All)).unwrap_err();
    let cause = cause(&error);
    assert_eq!(cause.source.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(
        cause.to_string(),
        "cannot write to /lake/events/p=a/.pipe-0000000001.parquet.0.part: \
         No space left on device (os error 28)"
    );
    let again = ready(sink.plan(at(0), Cut::All)).unwrap_err();
    assert!(matches!(again, SinkError::Broken(_)), "a sink that failed stays failed");
}

#[test]
fn the_sweep_takes_only_what_earlier_workers_left() {
    use millrace_disk::Disk;
    let disk = SimDisk::new(1);
    let (_, kept) = planned(&disk);
    for format in formats() {
        let mut stray = open(&disk, FilesOptions { worker_tag: 1, format, ..options() });
        ready(stray.write(&batch(0, 0, &[row("a"), row("b")]), at(0))).unwrap();
        ready(stray.plan(at(0), Cut::All)).unwrap();
    }
    let others = [
        "/lake/events/p=a/.other-0000000001.parquet.1.part",
        "/lake/events/p=a/pipe-0000000009.parquet",
        "/lake/events/p=a/notes.txt",
        "/lake/events/tmp/.pipe-0000000001.parquet.1.part",
    ];
    disk.create_dir_all("/lake/events/tmp".as_ref()).unwrap();
    others.iter().for_each(|path| drop(disk.create(path.as_ref()).unwrap()));

    let mut sink = open(&disk, FilesOptions { worker_tag: 2, ..options() });
    let rows: Vec<_> = (0..3_000).map(|_| row("c")).collect();
    ready(sink.write(&batch(0, 0, &rows), at(0))).unwrap();
    ready(sink.sweep(std::slice::from_ref(&kept))).unwrap();
    assert!(others.iter().all(|path| exists(&disk, path)));
    let ours = staged(&disk, "/lake/events").into_iter().filter(|name| name.starts_with("p="));
    let ours: Vec<_> = ours.filter(|name| name.contains("/.pipe-")).collect();
    assert_eq!(ours, [kept.staged.as_str(), "p=c/.pipe-0000000001.parquet.2.part"]);
}

#[test]
fn resuming_under_other_partitions_is_refused() {
    let disk = SimDisk::new(1);
    let mut resume = Resume::default();
    resume.ahead.insert("p=a".to_owned(), Default::default());
    let open = |partition_by: &[&str]| {
        let partition_by = partition_by.iter().map(|name| (*name).to_owned()).collect();
        let options = FilesOptions { partition_by, ..options() };
        crate::FilesSink::open(Arc::new(disk.clone()), options, resume.clone(), 1)
    };
    assert!(open(&["p"]).is_ok());
    assert!(open(&[]).is_err());
    assert!(open(&["p", "v"]).is_err());
}
