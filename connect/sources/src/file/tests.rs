mod flaky; // a disk that sometimes fails
mod headers; // first lines that go with all others
mod moved; // files that were renamed out of all patterns while nobody looked
mod reading; // what one file gives
mod rotation; // files that are renamed, truncated and replaced
mod support; // a disk, someone who writes to it, and a source on it
mod which; // what is found, and in which order
