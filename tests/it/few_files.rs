//! A broker whose connections take all files that it may open.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::kill_loop::processes::Broker;

/// Asks for the route of a topic that there is not.
fn ask(stream: &mut TcpStream) {
    let header = br#"{"code":105,"extFields":{"topic":"none"},"flag":0,"opaque":1}"#;
    let mut frame = (4 + header.len() as u32).to_be_bytes().to_vec();
    frame.extend((header.len() as u32).to_be_bytes());
    frame.extend(header);
    stream.write_all(&frame).unwrap();
}

/// Reads an answer, whatever it says.
fn receive(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut frame = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut frame)
}

#[test]
fn whoever_waits_for_a_connection_is_served_once_another_one_ends() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path()).unwrap();
    let connect = || {
        let mut stream = TcpStream::connect(broker.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        ask(&mut stream);
        stream
    };
    let mut served: Vec<TcpStream> = (0..5).map(|_| connect()).collect();
    served.iter_mut().for_each(|stream| receive(stream).unwrap());
    let files = std::fs::read_dir(format!("/proc/{}/fd", broker.pid())).unwrap().count() as u64;
    let most = Rlimit { current: Some(files), maximum: Some(files) };
    prlimit(Pid::from_raw(broker.pid() as i32), Resource::Nofile, most).unwrap();
    // The system takes these in and has no room to hand them over.
    let mut waiting = [connect(), connect()];
    ask(&mut served[0]);
    receive(&mut served[0]).unwrap();
    // Nothing else comes in that would remind the broker of them. One file more than they need is
    // given back, because the broker may have wanted one for itself meanwhile.
    served.truncate(2);
    waiting.iter_mut().for_each(|stream| receive(stream).unwrap());
    broker.kill();
}
