use std::collections::{BTreeSet, VecDeque};

/// Jobs in lines, one for each set of modules that jobs need. Of the jobs that need a module only
/// one is under way at a time, and lines take turns.
#[derive(Debug)]
pub(super) struct Lines<J> {
    lines: VecDeque<(Vec<usize>, VecDeque<J>)>,
    under_way: BTreeSet<usize>,
}

impl<J> Default for Lines<J> {
    fn default() -> Self {
        Self { lines: VecDeque::new(), under_way: BTreeSet::new() }
    }
}

impl<J> Lines<J> {
    /// Adds a job at the end of its line.
    pub(super) fn push(&mut self, modules: Vec<usize>, job: J) {
        match self.lines.iter_mut().find(|(known, _)| *known == modules) {
            Some((_, jobs)) => jobs.push_back(job),
            None => self.lines.push_back((modules, VecDeque::from([job]))),
        }
    }

    /// Takes out the job that is next, if any may begin now.
    pub(super) fn next(&mut self) -> Option<(Vec<usize>, J)> {
        let Self { lines, under_way } = self;
        let may_begin = |modules: &[usize]| modules.iter().all(|one| !under_way.contains(one));
        let at = lines.iter().position(|(modules, _)| may_begin(modules))?;
        let (modules, mut jobs) = lines.remove(at)?;
        let job = jobs.pop_front()?;
        under_way.extend(&modules);
        if !jobs.is_empty() {
            lines.push_back((modules.clone(), jobs));
        }
        Some((modules, job))
    }

    /// A job is over.
    pub(super) fn done(&mut self, modules: &[usize]) {
        for module in modules {
            self.under_way.remove(module);
        }
    }

    /// Forgets the jobs of which that does not hold.
    pub(super) fn retain(&mut self, holds: impl Fn(&J) -> bool) {
        for (_, jobs) in &mut self.lines {
            jobs.retain(&holds);
        }
        self.lines.retain(|(_, jobs)| !jobs.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The next jobs for as many threads as are free.
    fn next(lines: &mut Lines<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| lines.next()).map(|(_, job)| job).collect()
    }

    #[test]
    fn a_module_is_in_one_job_at_a_time_and_others_take_turns() {
        let mut lines = Lines::default();
        for job in ["slow 1", "slow 2", "slow 3"] {
            lines.push(vec![1], job);
        }
        lines.push(vec![1, 2], "both");
        for job in ["good 1", "good 2"] {
            lines.push(vec![3], job);
        }
        assert_eq!(next(&mut lines), ["slow 1", "good 1"]);
        lines.done(&[3]);
        assert_eq!(next(&mut lines), ["good 2"], "whatever the slow one does");
        lines.done(&[3]);
        assert_eq!(next(&mut lines), [""; 0]);
        lines.done(&[1]);
        assert_eq!(next(&mut lines), ["both"], "its line has waited for longer");
        lines.done(&[1, 2]);
        assert_eq!(next(&mut lines), ["slow 2"]);
    }

    #[test]
    fn what_nobody_waits_for_is_forgotten() {
        let mut lines = Lines::default();
        lines.push(vec![1], "gone");
        lines.push(vec![1], "there");
        lines.push(vec![2], "gone");
        lines.retain(|job| *job != "gone");
        assert_eq!(next(&mut lines), ["there"]);
    }

    #[test]
    fn one_job_of_each_slow_module_at_most_comes_before_that_of_a_good_one() {
        // One thread, five modules that always have more to do, and a good one that comes later.
        let mut lines = Lines::default();
        for module in 0..5 {
            (0..10).for_each(|_| lines.push(vec![module], "slow"));
        }
        let (first, _) = lines.next().unwrap();
        lines.push(vec![9], "good");
        lines.done(&first);
        let mut before = 0;
        while let Some((modules, "slow")) = lines.next() {
            lines.done(&modules);
            before += 1;
        }
        assert_eq!(before, 5);
    }
}
