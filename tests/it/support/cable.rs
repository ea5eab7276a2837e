//! The cable to Postgres: cut it, and the database is away; mend it, and it is back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// Forwards connections to a database until it is cut.
#[derive(Debug)]
pub struct Cable {
    url: Url,
    whole: Arc<AtomicBool>,
    lines: Arc<Mutex<Vec<TcpStream>>>,
}

#[derive(Clone, Debug)]
enum End {
    Socket(PathBuf),
    Address(String),
}

impl Cable {
    /// To the database that this URL names.
    pub fn to(database: &str) -> Self {
        let mut url = Url::parse(database).expect("a URL");
        let end = End::of(&url);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let kept: Vec<(String, String)> = url.query_pairs().into_owned().filter(|(key, _)| key != "host").collect();
        url.query_pairs_mut().clear().extend_pairs(kept);
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(port)).expect("a port");
        let (whole, lines) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let (is_whole, kept) = (Arc::clone(&whole), Arc::clone(&lines));
        std::thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                if is_whole.load(Ordering::SeqCst) {
                    kept.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(near.try_clone().expect("a second handle"));
                    end.join(near);
                }
            }
        });
        Self { url, whole, lines }
    }

    /// Of the near end.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// Breaks every connection and refuses new ones.
    pub fn cut(&self) {
        self.whole.store(false, Ordering::SeqCst);
        for line in self.lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = line.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.whole.store(true, Ordering::SeqCst);
    }
}

impl End {
    fn of(url: &Url) -> Self {
        let port = url.port().unwrap_or(5432);
        let directory = url.query_pairs().find(|(key, _)| key == "host").map(|(_, host)| host.into_owned());
        match directory.filter(|host| host.starts_with('/')) {
            Some(directory) => Self::Socket(PathBuf::from(directory).join(format!(".s.PGSQL.{port}"))),
            None => Self::Address(format!("{}:{port}", url.host_str().expect("a host"))),
        }
    }

    fn join(&self, near: TcpStream) {
        match self {
            Self::Socket(path) => {
                if let Ok(far) = UnixStream::connect(path) {
                    let (near_copy, far_copy) = (near.try_clone().expect("copy"), far.try_clone().expect("copy"));
                    pump(near, far, |far| drop(far.shutdown(Shutdown::Both)));
                    pump(far_copy, near_copy, |near| drop(near.shutdown(Shutdown::Both)));
                }
            }
            Self::Address(address) => {
                if let Ok(far) = TcpStream::connect(address) {
                    let (near_copy, far_copy) = (near.try_clone().expect("copy"), far.try_clone().expect("copy"));
                    pump(near, far, |far| drop(far.shutdown(Shutdown::Both)));
                    pump(far_copy, near_copy, |near| drop(near.shutdown(Shutdown::Both)));
                }
            }
        }
    }
}

fn pump<R: Read + Send + 'static, W: Write + Send + 'static>(mut from: R, mut to: W, close: fn(&W)) {
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        close(&to);
    });
}
