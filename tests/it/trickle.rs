//! Clients that send slowly, disconnect early, or do not speak HTTP (DESIGN.md 3).

use crate::support::client::{Request, Response};
use crate::support::order::documented;
use crate::support::supplier::{Clinic, Supplier};
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const READ_TIMEOUT: &str = "1s";
/// Leaves time for `SPSI_READ_TIMEOUT`, the shutdown of the connection by actix, and a loaded machine.
const CLOSED_BY: Duration = Duration::from_secs(20);

/// Writes one byte at a time until the server closes the connection. Returns the response.
fn trickle(mut stream: TcpStream, bytes: &[u8]) -> Vec<u8> {
    let began = Instant::now();
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a limit");
    let mut received = Vec::new();
    for byte in bytes.iter().cycle() {
        assert!(began.elapsed() < CLOSED_BY, "still open; it sent {:?}", String::from_utf8_lossy(&received));
        let mut some = [0; 1024];
        // The read timeout is the pause between two bytes.
        match stream.read(&mut some) {
            Ok(0) => return received,
            Ok(read) => received.extend_from_slice(&some[..read]),
            Err(error) if [std::io::ErrorKind::WouldBlock, std::io::ErrorKind::TimedOut].contains(&error.kind()) => {}
            Err(_) => return received,
        }
        if stream.write_all(&[*byte]).is_err() {
            let _ = stream.read_to_end(&mut received);
            return received;
        }
    }
    unreachable!("a cycle has no end")
}

fn status(received: &[u8]) -> Option<u16> {
    String::from_utf8_lossy(received).split(' ').nth(1)?.parse().ok()
}

fn supplier() -> (Supplier, Clinic) {
    let supplier = Supplier::start(&[("SPSI_READ_TIMEOUT", READ_TIMEOUT), ("SPSI_HTTP_THREADS", "1")]);
    let clinic = supplier.clinic();
    (supplier, clinic)
}

fn order(supplier: &Supplier, clinic: &Clinic) -> Request {
    supplier.request("POST", "/purchaseorder").bearer(&clinic.token).json(&documented("1"))
}

#[test]
fn slow_heads_and_bodies_are_closed_without_delay_to_other_clients() {
    let (supplier, clinic) = supplier();
    std::thread::scope(|scope| {
        let head = scope.spawn(|| {
            let request = order(&supplier, &clinic);
            trickle(request.connect(), b"GET /products HTTP/1.1\r\nx-a: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\r\n")
        });
        let body = scope.spawn(|| {
            let request = order(&supplier, &clinic);
            let mut stream = request.connect();
            stream.write_all(&request.head()).expect("the head goes out");
            trickle(stream, b" ")
        });
        let token = scope.spawn(|| {
            let request = supplier.request("POST", "/accesstoken").header("content-length", "500");
            let mut stream = request.connect();
            stream.write_all(&request.head()).expect("the head goes out");
            trickle(stream, b" ")
        });
        let silent = scope.spawn(|| {
            let mut stream = order(&supplier, &clinic).connect();
            let mut received = Vec::new();
            stream.set_read_timeout(Some(CLOSED_BY)).expect("a limit");
            stream.read_to_end(&mut received).expect("closed by the server");
            received
        });
        while [&head, &body, &token, &silent].iter().any(|slow| !slow.is_finished()) {
            assert_eq!(supplier.get(&clinic, "/products").status, 200, "others are served meanwhile");
        }
        let received = [head, body, token, silent].map(|slow| slow.join().expect("closed"));
        for received in &received[1..3] {
            assert_eq!(status(received), Some(408), "{}", String::from_utf8_lossy(received));
        }
        for received in [&received[0], &received[3]] {
            assert!(received.is_empty() || status(received) == Some(408), "{}", String::from_utf8_lossy(received));
        }
    });
    let orders = supplier.run(["order", "list"]);
    assert_eq!(orders.as_array().map(Vec::len), Some(0), "{orders}");
}

#[test]
fn an_order_whose_client_disconnects_early_is_not_stored() {
    let (supplier, clinic) = supplier();
    for part in [0, 1, 100] {
        let request = order(&supplier, &clinic);
        let mut stream = request.connect();
        let body = documented("1").to_string();
        let head = request.head();
        stream.write_all(&[head, body.as_bytes()[..part].to_vec()].concat()).expect("it goes out");
        stream.shutdown(std::net::Shutdown::Both).expect("gone");
    }
    let orders = supplier.run(["order", "list"]);
    assert_eq!(orders.as_array().map(Vec::len), Some(0), "{orders}");
    order(&supplier, &clinic).send().expect(200);
}

#[test]
fn bytes_that_are_not_http_are_refused() {
    let (supplier, clinic) = supplier();
    for bytes in [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"hello\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"] {
        let mut stream = order(&supplier, &clinic).connect();
        stream.write_all(bytes).expect("it goes out");
        let mut received = Vec::new();
        let _ = stream.read_to_end(&mut received);
        assert!(
            received.is_empty() || status(&received).is_some_and(|status| (400..600).contains(&status)),
            "{received:?}"
        );
    }
    let request = supplier.request("GET", "/products").bearer(&clinic.token).header("x-long", &"x".repeat(200_000));
    let mut stream = request.connect();
    let _ = stream.write_all(&request.head());
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    assert_ne!(status(&received), Some(200), "a head without end");
    assert_eq!(supplier.get(&clinic, "/products").status, 200);
}

#[test]
fn several_requests_share_a_connection() {
    let (supplier, clinic) = supplier();
    let request = order(&supplier, &clinic);
    let head = String::from_utf8(request.head()).expect("ASCII").replace("connection: close\r\n", "");
    let once = [head.as_bytes(), documented("1").to_string().as_bytes()].concat();
    let mut stream = request.connect();
    let last = supplier.request("GET", "/products?limit=[1]").bearer(&clinic.token).head();
    stream.write_all(&[once.clone(), once, last].concat()).expect("it goes out");
    let mut received = Vec::new();
    stream.read_to_end(&mut received).expect("three answers");
    assert_eq!(String::from_utf8_lossy(&received).matches("HTTP/1.1 200 OK").count(), 3);
    let _ = Response { status: 200, headers: Vec::new(), body: received };
}

#[test]
fn a_burst_of_connections_waits_until_the_server_accepts_them() {
    const BURST: usize = 500;
    // Requests come one after the other, on connections that all count as read from the start.
    let supplier = Supplier::start(&[("SPSI_HTTP_THREADS", "1")]);
    let clinic = supplier.clinic();
    let request = supplier.request("GET", "/categories").bearer(&clinic.token);
    let address = supplier.url().trim_start_matches("http://").parse().expect("an address");
    // As while the server is busy.
    supplier.signal(Signal::SIGSTOP);
    let connect = |_| TcpStream::connect_timeout(&address, Duration::from_millis(900));
    let connected: Result<Vec<TcpStream>, _> = (0..BURST).map(connect).collect();
    supplier.signal(Signal::SIGCONT);
    for mut stream in connected.expect("the system keeps them") {
        stream.write_all(&request.head()).expect("it goes out");
        let mut received = Vec::new();
        stream.read_to_end(&mut received).expect("an answer");
        assert_eq!(status(&received), Some(200));
    }
}
