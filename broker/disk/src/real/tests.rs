use std::os::unix::fs::FileTypeExt;

use rustix::fs::{FileType, Mode, mknodat};

use super::*;

/// Writes `lens.len()` slices of these lengths through a `write` that takes as many bytes as each
/// of `answers` says, and then everything; compares what arrived where.
#[track_caller]
fn check_write_all(lens: &[usize], answers: &[rustix::io::Result<usize>]) {
    let total: usize = lens.iter().sum();
    let bytes: Vec<u8> = (0..total).map(|i| (i % 251) as u8).collect();
    let mut rest = &bytes[..];
    let mut slices = Vec::new();
    for len in lens {
        let (slice, after) = rest.split_at(*len);
        slices.push(IoSlice::new(slice));
        rest = after;
    }

    let mut arrived = Vec::new();
    let mut answers = answers.iter().copied();
    write_all(&slices, 1000, |slices, at| {
        assert_eq!(at, 1000 + arrived.len() as u64);
        assert!(slices.len() <= SLICES_MAX);
        let given: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
        assert!(!given.is_empty());
        let taken = answers.next().unwrap_or(Ok(given.len()))?.min(given.len());
        arrived.extend_from_slice(&given[..taken]);
        Ok(taken)
    })
    .unwrap();
    assert_eq!(arrived, bytes, "{lens:?} {answers:?}");
}

#[test]
fn short_and_interrupted_writes_go_on() {
    check_write_all(&[], &[]);
    check_write_all(&[0, 0], &[]);
    check_write_all(&[5], &[Ok(1), Ok(1), Err(Errno::INTR), Ok(2)]);
    check_write_all(&[3, 0, 4], &[Ok(3), Ok(1)]);
    check_write_all(&[3, 0, 4, 5], &[Ok(4), Err(Errno::INTR), Ok(3), Ok(1)]);
    check_write_all(&[1; 5000], &[Ok(1024), Ok(3), Ok(1000)]);
    check_write_all(&[0; 3000], &[]);
}

#[test]
fn a_write_that_takes_nothing_ends() {
    let error = write_all(&[IoSlice::new(b"abc")], 0, |_, _| Ok(0)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    let error = write_all(&[IoSlice::new(b"abc")], 0, |_, _| Err(Errno::NOSPC)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
}

#[test]
fn allocated_space_is_really_reserved() {
    use std::os::unix::fs::MetadataExt;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    RealDisk::new().create(&path).unwrap().allocate(1_000_000).unwrap();
    assert!(fs::metadata(&path).unwrap().blocks() * 512 >= 1_000_000);
}

#[test]
fn without_fallocate_space_is_reserved_too() {
    use std::os::unix::fs::MetadataExt;

    let file = tempfile::tempfile().unwrap();
    file.write_all_at(b"abc", 0).unwrap();
    extend_with_zeros(&file, 1_000_000).unwrap();
    extend_with_zeros(&file, 10).unwrap();
    file.sync_all().unwrap();
    let stat = file.metadata().unwrap();
    assert_eq!(stat.len(), 1_000_000);
    assert!(stat.blocks() * 512 >= 1_000_000);
    let mut start = [0; 3];
    file.read_exact_at(&mut start, 0).unwrap();
    assert_eq!(&start, b"abc");
}

#[test]
fn without_zero_range_zeros_are_written() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&[7; 200_000], 0).unwrap();
    overwrite_with_zeros(&file, 10..150_000).unwrap();
    overwrite_with_zeros(&file, 199_999..300_000).unwrap();
    overwrite_with_zeros(&file, 250_000..300_000).unwrap();
    let mut expected = vec![7; 200_000];
    expected[10..150_000].fill(0);
    expected[199_999] = 0;
    let mut bytes = vec![1; 200_001];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 200_000);
    assert_eq!(bytes[..200_000], expected);
}

#[test]
fn without_noreplace_nothing_is_replaced_either() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b, c) = (dir.path().join("a"), dir.path().join("b"), dir.path().join("c"));
    fs::write(&a, "a").unwrap();
    fs::write(&b, "b").unwrap();
    let kind = |from, to| link_then_unlink(from, to).unwrap_err().kind();
    assert_eq!(kind(&a, &b), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(&a, &a), io::ErrorKind::AlreadyExists);
    assert_eq!(kind(&c, &b), io::ErrorKind::NotFound);
    link_then_unlink(&a, &c).unwrap();
    assert!(!a.exists());
    assert_eq!(fs::read(&b).unwrap(), b"b");
    assert_eq!(fs::read(&c).unwrap(), b"a");
}

#[test]
fn a_pipe_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
    let error = RealDisk::new().open(&path, Access::Read).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_link_to_a_directory_is_listed_as_one() {
    use std::os::unix::fs::symlink;

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("d")).unwrap();
    symlink("d", dir.path().join("to-d")).unwrap();
    symlink("nowhere", dir.path().join("to-nowhere")).unwrap();
    let listed = RealDisk::new().list(dir.path()).unwrap();
    let listed: Vec<_> = listed.iter().map(|entry| (entry.name.as_str(), entry.is_dir)).collect();
    assert_eq!(listed, [("d", true), ("to-d", true), ("to-nowhere", false)]);
}

#[test]
fn a_name_that_is_not_text_is_reported() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(OsStr::from_bytes(b"caf\xe9")), "").unwrap();
    let error = RealDisk::new().list(dir.path()).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    assert!(error.to_string().contains("caf"), "{error}");
}

#[test]
fn the_birth_of_a_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let told = RealDisk::new().create(&path).unwrap().identity().unwrap();
    let born = fs::metadata(&path).unwrap().created();
    // Not every file system remembers.
    let expected = born
        .map_or(0, |born| born.duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64);
    assert_eq!(told.born_ns, expected);
    assert_eq!(told.device, fs::metadata(&path).unwrap().dev());
    assert_eq!(told.inode, fs::metadata(&path).unwrap().ino());
}
