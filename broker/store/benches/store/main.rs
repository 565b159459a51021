//! What the store costs, beside the plainest way to bring the same bytes to the same disk.
//!
//! ```text
//! store [SECTION...]                    append sync read recovery queues; all without one
//! store scale [MESSAGES [TOPICS [QUEUES EACH]]]
//! ```
//!
//! Everything lies in a temporary directory and is removed at the end. Ours and the plain way
//! alternate, A B A B; a figure is the median of the rounds, with the smallest and the largest.
//! The answer is 4 if a gate is missed.

mod append;
mod gate; // what has to be reached
mod home; // where files lie meanwhile
mod load; // messages, and stores that take them
mod meter; // what something took
mod queues;
mod raw; // the plain way
mod read;
mod recovery;
mod scale;
mod sync;

use std::process::ExitCode;

use gate::Gates;
use home::Home;

type Measure = fn(&Home, &mut Gates);

const SECTIONS: [(&str, Measure); 5] = [
    ("append", append::measure),
    ("sync", sync::measure),
    ("read", read::measure),
    ("recovery", recovery::measure),
    ("queues", queues::measure),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let home = Home::new();
    let mut gates = Gates::default();
    println!("{}", meter::machine());
    println!(
        "segments of 1 GiB, index runs of 128 MiB, records with checksum and client properties"
    );
    if arguments.first().is_some_and(|first| first == "scale") {
        let number = |n: usize, default: u64| {
            arguments.get(n).map_or(default, |n| n.parse().expect("a number"))
        };
        let (topics, each) = (number(2, 2) as u32, number(3, 4) as u32);
        scale::measure(&home, &mut gates, number(1, 100_000_000), topics, each);
    } else {
        for name in &arguments {
            assert!(SECTIONS.iter().any(|(known, _)| known == name), "no section {name}");
        }
        for (name, measure) in SECTIONS {
            if arguments.is_empty() || arguments.iter().any(|wanted| wanted == name) {
                measure(&home, &mut gates);
            }
        }
    }
    println!("{} MB were written to the disk", meter::written_to_disk() / 1_000_000);
    if gates.report() { ExitCode::SUCCESS } else { ExitCode::from(4) }
}
