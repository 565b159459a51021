//! Reading as many bytes as were asked for: a file may give fewer at once, before a bad sector for
//! one.

use std::io;

use millrace_disk::File;

/// Fills `bytes` from `at` on; `UnexpectedEof` if the file ends before.
pub(crate) fn read(file: &dyn File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    match read_most(file, bytes, at) {
        (_, Some(error)) => Err(error),
        (filled, None) if filled < bytes.len() => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Fills `bytes` from `at` on as far as the file goes and can be read: how many there are, and the
/// error that comes after them.
pub(crate) fn read_most(file: &dyn File, bytes: &mut [u8], at: u64) -> (usize, Option<io::Error>) {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) => return (filled, Some(error)),
        }
    }
    (filled, None)
}

#[cfg(test)]
mod tests {
    use std::ops::Range;
    use std::sync::Arc;

    use millrace_disk::{Identity, Map};

    use super::*;

    /// Gives at most three bytes at once, and none from the seventh on if that is a bad sector.
    #[derive(Debug)]
    struct Slow {
        is_bad: bool,
    }

    impl File for Slow {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            if self.is_bad && offset >= 7 {
                return Err(io::Error::other("bad sector"));
            }
            let end = if self.is_bad { 7 } else { 10 };
            let n = buf.len().min(3).min((end - offset) as usize);
            (offset..).zip(&mut buf[..n]).for_each(|(at, byte)| *byte = at as u8);
            Ok(n)
        }

        fn write_at(&self, _: &[io::IoSlice<'_>], _: u64) -> io::Result<()> {
            unreachable!("it is only read")
        }

        fn next_data(&self, _: u64) -> io::Result<Option<Range<u64>>> {
            unreachable!("it is read as a whole")
        }

        fn allocate(&self, _: u64) -> io::Result<()> {
            unreachable!("it is only read")
        }

        fn zero(&self, _: Range<u64>) -> io::Result<()> {
            unreachable!("it is only read")
        }

        fn truncate(&self, _: u64) -> io::Result<()> {
            unreachable!("it is only read")
        }

        fn sync(&self) -> io::Result<()> {
            unreachable!("it is only read")
        }

        fn size(&self) -> io::Result<u64> {
            unreachable!("it is only read")
        }

        fn identity(&self) -> io::Result<Identity> {
            unreachable!("it is only read")
        }

        fn map(&self, _: u64) -> io::Result<Arc<dyn Map>> {
            unreachable!("it is only read")
        }
    }

    #[track_caller]
    fn check(is_bad: bool, at: u64, len: usize, expected: &[u8], whole: Option<io::ErrorKind>) {
        let (mut bytes, mut same) = (vec![0; len], vec![0; len]);
        let (filled, _) = read_most(&Slow { is_bad }, &mut bytes, at);
        assert_eq!(&bytes[..filled], expected);
        let read = read(&Slow { is_bad }, &mut same, at);
        assert_eq!(read.err().map(|error| error.kind()), whole);
        assert_eq!(&same[..filled], expected);
    }

    #[test]
    fn what_comes_in_pieces_is_read_whole() {
        check(false, 0, 0, &[], None);
        check(false, 1, 7, &[1, 2, 3, 4, 5, 6, 7], None);
        check(false, 5, 7, &[5, 6, 7, 8, 9], Some(io::ErrorKind::UnexpectedEof));
        check(true, 2, 5, &[2, 3, 4, 5, 6], None);
        check(true, 2, 6, &[2, 3, 4, 5, 6], Some(io::ErrorKind::Other));
    }
}
