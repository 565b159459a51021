/// The two times of one moment. Monotonic time drives deadlines, wall time only stamps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Milliseconds since some fixed moment of this process; never goes back.
    pub mono_ms: u64,
    /// Milliseconds since the Unix epoch; may jump.
    pub wall_ms: i64,
}
