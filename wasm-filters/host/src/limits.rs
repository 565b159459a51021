use std::time::Duration;

/// What modules may use. The defaults suit filters that people write; a test sets small ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest module, bytes. A longer one is refused before anything in it is read.
    pub module_bytes_max: usize,
    /// The most functions of a module. With `function_bytes_max` it bounds how long compiling can
    /// take, because the compiler's time for one function may grow faster than its length.
    pub functions_max: u32,
    /// The longest function of a module, bytes.
    pub function_bytes_max: usize,
    /// The most memory of one instance, bytes.
    pub memory_bytes_max: usize,
    /// The most entries of an instance's table.
    pub table_elements_max: usize,
    /// How many ticks one call into a module may take. A tick counts when the module is seen
    /// running at it, so a machine that gives the module no time does not make it late.
    pub deadline_ticks: u32,
    /// How far ticks are apart.
    pub tick: Duration,
    /// The most bytes that one call is handed, unless a single record is longer.
    pub call_bytes_max: usize,
    /// The most records that a module may make of one.
    pub outputs_max: usize,
    /// The most bytes that one call may put out. When all calls of a run did, it goes no further.
    pub output_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            module_bytes_max: 4 << 20,
            functions_max: 20_000,
            function_bytes_max: 128 << 10,
            memory_bytes_max: 64 << 20,
            table_elements_max: 20_000,
            deadline_ticks: 10,
            tick: Duration::from_millis(5),
            call_bytes_max: 4 << 20,
            outputs_max: 1_000,
            output_bytes_max: 32 << 20,
        }
    }
}
