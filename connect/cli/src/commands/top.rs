//! `millrace top`: what a broker does right now.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::exit::{Exit, Failure, codes};
use crate::output::{Answer, try_print};

/// Show what a broker does, from the figures it gives to Prometheus.
///
/// The broker has to be started with --metrics-listen. A terminal is filled with as many figures as
/// it has lines; elsewhere all of them follow each other every second. Ends with ctrl-c, or with
/// whoever reads.
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Where the broker gives its figures: what it was given as --metrics-listen.
    #[arg(long, value_name = "HOST:PORT")]
    metrics: String,
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
            let shown = if io::stdout().is_terminal() {
                let (rows, columns) = window();
                // To the upper left corner, and nothing left of what was there.
                format!("\x1b[H\x1b[2J{}", fitted(&text, rows, columns))
            } else if before.is_some() {
                format!("\n{text}")
            } else {
                text
            };
            if try_print(shown.as_bytes()).is_err() {
                let summary = "nobody reads any more".to_owned();
                let (text, result) = (String::new(), json!(figures));
                return Ok(Answer { exit: Exit::Done, summary, text, result });
            }
            before = Some((now, figures));
            std::thread::sleep(INTERVAL);
        }
    }

    fn ask(&self) -> Result<Figures, Failure> {
        let at = &*self.metrics;
        let answer = (|| {
            let mut stream = connect(at)?;
            stream.set_read_timeout(Some(TIMEOUT))?;
            stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {at}\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
            Ok::<_, io::Error>(answer)
        })();
        let answer = answer.map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidInput {
                let message = format!("`{at}` is no HOST:PORT");
                return Failure::new(Exit::Input, codes::ARGUMENT, message).caused_by(&error);
            }
            let message = format!("no figures from {at}");
            Failure::new(Exit::Environment, codes::BROKER_AWAY, message)
                .caused_by(&error)
                .hint("is the broker started with --metrics-listen?")
        })?;
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.starts_with("HTTP/1.1 200 ") => Ok(parse(body)),
            _ => {
                let message = format!("{at} does not give figures");
                Err(Failure::new(Exit::Environment, codes::BROKER_AWAY, message)
                    .hint("is it the port of --metrics-listen?"))
            }
        }
    }
}

/// A connection to the first of a name's addresses that takes one.
fn connect(at: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in at.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Rows and columns of the terminal, as `stty` tells them, which need not be there.
fn window() -> (usize, usize) {
    const USUAL: (usize, usize) = (24, 80);
    let asked = std::fs::File::open("/dev/tty").and_then(|terminal| {
        Command::new("stty").arg("size").stdin(terminal).stderr(Stdio::null()).output()
    });
    let told = asked.map(|told| String::from_utf8_lossy(&told.stdout).into_owned());
    let told = told.unwrap_or_default();
    let numbers: Vec<usize> = told.split_whitespace().map_while(|n| n.parse().ok()).collect();
    match numbers[..] {
        [rows, columns] if rows > 0 && columns > 0 => (rows, columns),
        _ => USUAL,
    }
}

/// As much of the lines as a window has room for, and how many are left out. The last line is not
/// ended, so that nothing moves up.
fn fitted(text: &str, rows: usize, columns: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let shown = if lines.len() <= rows { lines.len() } else { rows.saturating_sub(1) };
    let mut fitted: Vec<String> = lines[..shown].iter().map(|line| cut(line, columns)).collect();
    if shown < lines.len() {
        let left_out = format!("... {} more: --once shows all", lines.len() - shown);
        fitted.push(left_out.chars().take(columns).collect());
    }
    fitted.join("\n")
}

/// A line that fits; its end says the most, so the middle goes.
fn cut(line: &str, columns: usize) -> String {
    let chars: Vec<char> = line.chars().collect();
    if chars.len() <= columns {
        return line.to_owned();
    }
    let end = columns / 2;
    let start = columns.saturating_sub(end + 2);
    let dots = ['.'; 2].into_iter().take(columns - start - end);
    let (head, tail) = (&chars[..start], &chars[chars.len() - end..]);
    head.iter().copied().chain(dots).chain(tail.iter().copied()).collect()
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
    #[test]
    fn a_window_gets_what_it_has_room_for() {
        let text = "one_long_name{topic=\"t\"}   7\nb  1\nc  2\n";
        assert_eq!(fitted(text, 3, 80), text.trim_end());
        assert_eq!(fitted(text, 2, 16), "one_lo..\"t\"}   7\n... 2 more: --on");
        for (rows, columns) in [(1, 1), (1, 40), (2, 2), (2, 3), (3, 9)] {
            let fitted = fitted(text, rows, columns);
            assert!(fitted.lines().count() <= rows, "{fitted}");
            assert!(fitted.lines().all(|line| line.chars().count() <= columns), "{fitted}");
        }
    }
}
