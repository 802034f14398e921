//! A TCP relay that makes a loopback connection as slow as the internet: each byte arrives half a round trip
//! later, in both directions, and so does a new connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Relays to `to` with `round_trip` added; gives the address to connect to. It lives as long as the process.
pub fn start(to: SocketAddr, round_trip: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || {
                // The handshake of a new connection costs a round trip too.
                thread::sleep(round_trip);
                let Ok(server) = TcpStream::connect(to) else { return };
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                pipe(client.try_clone().unwrap(), server.try_clone().unwrap(), round_trip / 2);
                pipe(server, client, round_trip / 2);
            });
        }
    });
    address
}

fn pipe(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}
