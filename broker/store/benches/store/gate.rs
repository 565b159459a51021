//! What the store has to reach.

/// The gates of a run, and which of them hold.
#[derive(Default)]
pub(crate) struct Gates(Vec<Gate>);

struct Gate {
    what: String,
    found: f64,
    bound: String,
    holds: bool,
}

impl Gates {
    pub(crate) fn at_most(&mut self, what: &str, found: f64, max: f64) {
        self.add(what, found, format!("at most {max}"), found <= max);
    }

    pub(crate) fn at_least(&mut self, what: &str, found: f64, min: f64) {
        self.add(what, found, format!("at least {min}"), found >= min);
    }

    fn add(&mut self, what: &str, found: f64, bound: String, holds: bool) {
        self.0.push(Gate { what: what.into(), found, bound, holds });
    }

    /// Prints them all; whether all hold.
    pub(crate) fn report(&self) -> bool {
        println!("gates");
        for Gate { what, found, bound, holds } in &self.0 {
            let answer = if *holds { "holds" } else { "MISSED" };
            println!("  {answer:<6} {what}: {found:.2}, {bound}");
        }
        self.0.iter().all(|gate| gate.holds)
    }
}
