//! `millrace top`: what a broker does right now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure};
use crate::output::{Answer, print};

/// Show what a broker does, from the figures it gives to Prometheus.
///
/// The broker has to be started with --metrics-listen. Ends with ctrl-c.
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Where the broker gives its figures: what it was given as --metrics-listen.
    #[arg(long, value_name = "ADDR")]
    metrics: SocketAddr,
    /// Show the figures once and end.
    #[arg(long)]
    once: bool,
    /// One JSON object with all figures by name; needs --once.
    #[arg(long, requires = "once")]
    pub(crate) json: bool,
}

type Figures = BTreeMap<String, u64>;

/// Between two looks.
const INTERVAL: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Far more than a broker with 50,000 topics says.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

impl Top {
    pub(crate) fn execute(&self) -> Result<Answer, Failure> {
        let mut before: Option<(Instant, Figures)> = None;
        loop {
            let (now, figures) = (Instant::now(), self.ask()?);
            let text = table(&figures, before.as_ref().map(|(at, known)| (now - *at, known)));
            if self.once {
                let summary = format!("{} figures", figures.len());
                return Ok(Answer { exit: Exit::Done, summary, text, result: json!(figures) });
            }
            // To the upper left corner, and nothing left of what was there.
            print(&format!("\x1b[H\x1b[2J{text}"));
            before = Some((now, figures));
            std::thread::sleep(INTERVAL);
        }
    }

    fn ask(&self) -> Result<Figures, Failure> {
        let at = self.metrics;
        let answer = (|| {
            let mut stream = TcpStream::connect_timeout(&at, TIMEOUT)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
            Ok::<_, std::io::Error>(answer)
        })();
        let answer = answer.map_err(|error| {
            let message = format!("no figures from {at}");
            Failure::new(Exit::Environment, "metrics", message)
                .caused_by(&error)
                .hint("is the broker started with --metrics-listen?")
        })?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(parse(body)),
            _ => {
                let message = format!("{at} does not give figures");
                Err(Failure::new(Exit::Environment, "metrics", message))
            }
        }
    }
}

/// The figures by name and labels; what is not a whole number is left out.
fn parse(exposition: &str) -> Figures {
    let lines = exposition.lines().filter(|line| !line.starts_with('#'));
    let pairs = lines.filter_map(|line| line.rsplit_once(' '));
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

/// The figures in columns, and for those that grow how fast they do.
fn table(figures: &Figures, before: Option<(Duration, &Figures)>) -> String {
    let mut text = String::new();
    let width = figures.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in figures {
        let grown = before.and_then(|(elapsed, known)| {
            let growth = value.checked_sub(*known.get(name)?).filter(|growth| *growth > 0)?;
            Some(format!("  {:.0}/s", growth as f64 / elapsed.as_secs_f64()))
        });
        let grown = grown.unwrap_or_default();
        writeln!(text, "{name:width$}  {value:>14}{grown}").expect("a string takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_and_their_growth_is_told() {
        let before = parse("# TYPE a counter\na 10\nb{topic=\"t\"} 7\nc nan\n");
        assert_eq!(before.len(), 2);
        assert_eq!(before["b{topic=\"t\"}"], 7);
        let now = parse("a 30\nb{topic=\"t\"} 7\n");
        let text = table(&now, Some((Duration::from_secs(2), &before)));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("a ") && lines[0].ends_with("30  10/s"), "{text}");
        assert!(lines[1].ends_with(" 7"), "{text}");
    }
}
