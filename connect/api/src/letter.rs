/// A code that users can look up, such as `E-DECODE-03`.
pub type RejectCode = &'static str;

/// Why one record cannot go on. It becomes a dead letter with the original bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// What kind of mistake.
    pub code: RejectCode,
    /// One sentence for a person; lowercase, no full stop.
    pub error: String,
    /// Path of the field at fault, if it is one field.
    pub field: Option<String>,
}
