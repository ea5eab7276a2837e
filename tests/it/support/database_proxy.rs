//! A TCP proxy in front of Postgres that tests can cut, so that the database becomes unreachable, and restore.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// Forwards connections to a database until it is cut.
#[derive(Debug)]
pub struct DatabaseProxy {
    url: Url,
    is_connected: Arc<AtomicBool>,
    clients: Arc<Mutex<Vec<TcpStream>>>,
}

/// The address of Postgres.
#[derive(Clone, Debug)]
enum Upstream {
    Socket(PathBuf),
    Tcp(String),
}

impl DatabaseProxy {
    /// Starts a proxy to the database of this URL.
    pub fn to(database: &str) -> Self {
        let mut url = Url::parse(database).expect("a URL");
        let upstream = Upstream::of(&url);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let other_pairs: Vec<(String, String)> =
            url.query_pairs().into_owned().filter(|(key, _)| key != "host").collect();
        url.query_pairs_mut().clear().extend_pairs(other_pairs);
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        let proxy = Self { url, is_connected: Arc::new(AtomicBool::new(true)), clients: Arc::default() };
        let (is_connected, clients) = (Arc::clone(&proxy.is_connected), Arc::clone(&proxy.clients));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if is_connected.load(Ordering::SeqCst) {
                    let mut clients = clients.lock().unwrap_or_else(PoisonError::into_inner);
                    clients.push(client.try_clone().expect("a second handle"));
                    upstream.forward(client);
                }
            }
        });
        proxy
    }

    /// Returns the URL of the database through the proxy.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Breaks every connection and refuses new ones.
    pub fn cut(&self) {
        self.is_connected.store(false, Ordering::SeqCst);
        for client in self.clients.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = client.shutdown(Shutdown::Both);
        }
    }

    /// Accepts new connections again.
    pub fn restore(&self) {
        self.is_connected.store(true, Ordering::SeqCst);
    }
}

impl Upstream {
    fn of(url: &Url) -> Self {
        let port = url.port().unwrap_or(5432);
        let directory = url.query_pairs().find(|(key, _)| key == "host").map(|(_, host)| host.into_owned());
        match directory.filter(|host| host.starts_with('/')) {
            Some(directory) => Self::Socket(PathBuf::from(directory).join(format!(".s.PGSQL.{port}"))),
            None => Self::Tcp(format!("{}:{port}", url.host_str().expect("a host"))),
        }
    }

    /// Copies bytes in both directions until one side closes.
    fn forward(&self, client: TcpStream) {
        let client_copy = client.try_clone().expect("a second handle");
        match self {
            Self::Socket(path) => {
                if let Ok(server) = UnixStream::connect(path) {
                    let server_copy = server.try_clone().expect("a second handle");
                    copy(client, server, |server| drop(server.shutdown(Shutdown::Both)));
                    copy(server_copy, client_copy, |client| drop(client.shutdown(Shutdown::Both)));
                }
            }
            Self::Tcp(address) => {
                if let Ok(server) = TcpStream::connect(address) {
                    let server_copy = server.try_clone().expect("a second handle");
                    copy(client, server, |server| drop(server.shutdown(Shutdown::Both)));
                    copy(server_copy, client_copy, |client| drop(client.shutdown(Shutdown::Both)));
                }
            }
        }
    }
}

/// Copies in a thread until the end of `from`, then closes `to`.
fn copy<R: Read + Send + 'static, W: Write + Send + 'static>(mut from: R, mut to: W, close: fn(&W)) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        close(&to);
    });
}
