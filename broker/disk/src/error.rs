use std::io;
use std::path::{Path, PathBuf};

/// Says which file an error is about.
pub(crate) trait About<T> {
    /// Makes the error read "cannot `action` `path`: cause". Its `kind` stays.
    fn about(self, action: &'static str, path: &Path) -> io::Result<T>;

    /// The same for what concerns two files: "cannot `action` `from` to `to`: cause".
    fn about_two(self, action: &'static str, from: &Path, to: &Path) -> io::Result<T>;
}

impl<T, E: Into<io::Error>> About<T> for Result<T, E> {
    fn about(self, action: &'static str, path: &Path) -> io::Result<T> {
        self.map_err(|cause| {
            let cause = cause.into();
            io::Error::new(cause.kind(), OnFile { action, path: path.to_owned(), cause })
        })
    }

    fn about_two(self, action: &'static str, from: &Path, to: &Path) -> io::Result<T> {
        self.map_err(|cause| {
            let cause = cause.into();
            let (from, to) = (from.to_owned(), to.to_owned());
            io::Error::new(cause.kind(), OnTwoFiles { action, from, to, cause })
        })
    }
}

// The cause is part of the text and therefore not the `source`: a chain of errors would print it
// twice.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {cause}", .path.display())]
struct OnFile {
    action: &'static str,
    path: PathBuf,
    cause: io::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {} to {}: {cause}", .from.display(), .to.display())]
struct OnTwoFiles {
    action: &'static str,
    from: PathBuf,
    to: PathBuf,
    cause: io::Error,
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn the_text_names_the_file_and_the_kind_stays() {
        let error = Err::<(), _>(Errno::NOSPC).about("write to", Path::new("/x/y")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(
            error.to_string(),
            "cannot write to /x/y: No space left on device (os error 28)"
        );
    }

    #[test]
    fn a_rename_names_both() {
        let error = Err::<(), _>(Errno::EXIST)
            .about_two("rename", Path::new("/a"), Path::new("/b"))
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(error.to_string(), "cannot rename /a to /b: File exists (os error 17)");
    }
}
