use std::collections::BTreeMap;
use std::sync::Arc;

use super::output::Output;

/// Groups of which a peer was told that they have changed, until it has taken that: whatever
/// changes meanwhile it finds when it looks.
///
/// By group, where in what is sent its last notice ends.
#[derive(Debug, Default)]
pub(super) struct Notices(BTreeMap<Arc<str>, u64>);

impl Notices {
    /// Writes a notice, unless the last one about the group is still to be sent. Answers whether it
    /// was written.
    pub(super) fn add(&mut self, group: &Arc<str>, notice: &[u8], output: &mut Output) -> bool {
        if output.is_empty() {
            self.0.clear();
        }
        if self.0.get(group).is_some_and(|end| !output.has_sent(*end)) {
            return false;
        }
        output.write(|out| out.extend_from_slice(notice));
        self.0.insert(Arc::clone(group), output.end());
        true
    }

    /// Bytes of memory that are taken, about. The groups' names are shared.
    pub(super) fn held(&self) -> usize {
        self.0.len() * 2 * size_of::<(Arc<str>, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind, Write};

    use super::*;

    /// Takes so many bytes.
    struct Takes(usize);

    impl Write for Takes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(std::mem::take(&mut self.0));
            if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_member_that_has_not_taken_a_notice_gets_no_second_one() {
        let (mut notices, mut output) = (Notices::default(), Output::default());
        let [g, h]: [Arc<str>; 2] = ["g".into(), "h".into()];
        output.write(|out| out.extend_from_slice(b"an answer"));
        assert!(notices.add(&g, b"look at g", &mut output));
        assert!(notices.add(&h, b"look at h", &mut output));
        assert!(!notices.add(&g, b"look at g", &mut output));
        output.send(&mut Takes(17)).unwrap();
        assert!(!notices.add(&g, b"look at g", &mut output));
        assert_eq!((output.len(), notices.0.len()), (10, 2));
        // The first one is sent, although not everything is.
        output.send(&mut Takes(1)).unwrap();
        assert!(notices.add(&g, b"look at g", &mut output));
        assert!(!notices.add(&h, b"look at h", &mut output));
        output.send(&mut Takes(18)).unwrap();
        output.rest();
        assert!(notices.add(&h, b"look at h", &mut output));
        assert!(notices.add(&g, b"look at g", &mut output));
        assert_eq!((output.len(), notices.0.len()), (18, 2));
    }
}
