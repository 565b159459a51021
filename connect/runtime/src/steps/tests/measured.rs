use std::hint::black_box;
use std::time::Instant;

use super::*;

const MESSAGES: usize = 1_000;
const BATCHES: usize = 20;
const ROUNDS: usize = 101;

/// What a message costs in chains of modules that keep everything: the middle one of many rounds,
/// all measured in turns.
#[test]
#[ignore = "measures: cargo test --release -p millrace-runtime --lib -- --ignored --nocapture"]
fn modules_in_a_chain() {
    let body = "x".repeat(198);
    let properties = |number: usize| {
        let region = ["region=eu", "region=us", "region=ap", "region=eu"][number % 4];
        let id = "UNIQ_KEY=7F0000010001A2B3C4D5E6F70001AB";
        let mut all = ["TAGS=TagA", id, "KEYS=customer-123", region];
        all.rotate_left(number / 4 % 4);
        all.join(" ")
    };
    let properties: Vec<String> = (0..MESSAGES).map(properties).collect();
    let rows: Vec<(&str, &str)> = properties.iter().map(|all| (&*body, &**all)).collect();
    let (messages, all) = (messages(&rows), (0..MESSAGES).collect::<Vec<_>>());
    let chain =
        |modules| chain(&format!("[{}]", ["wasm: {module: pass.wasm}"].repeat(modules).join(", ")));
    let mut chains = [0, 1, 2, 3].map(|modules| (chain(modules), Vec::new()));
    for _ in 0..ROUNDS {
        for (chain, costs) in &mut chains {
            let batches = [(); BATCHES].map(|()| Arc::new(messages.repeated(&all)));
            let begun = Instant::now();
            for messages in &batches {
                black_box(chain.apply(Arc::clone(messages), &mut Vec::new()).unwrap());
            }
            costs.push(begun.elapsed().as_nanos() as usize / (BATCHES * MESSAGES));
        }
    }
    for (modules, (_, mut costs)) in chains.into_iter().enumerate() {
        costs.sort_unstable();
        eprintln!("{modules} modules: {} ns a message", costs[ROUNDS / 2]);
    }
}
