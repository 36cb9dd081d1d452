//! Where traces go: the value of the key `traces`. An address, never a name: names would have to be looked up, by way of
//! rules that this program may just be repairing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use hyper::Uri;

/// What OTLP over HTTP calls its path for traces.
const PATH: &str = "/v1/traces";
/// Longest value.
const LONGEST: usize = 2048;
/// What a collector listens on.
const EXAMPLE: &str = "http://127.0.0.1:4318/v1/traces";

/// A collector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    target: Target,
    host: String,
    path: String,
}

/// How it is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The first of these that takes the connection.
    Tcp(Vec<SocketAddr>),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl Endpoint {
    /// Reads `http://127.0.0.1:4318/v1/traces` or `unix:/run/otelcol/otlp.sock`.
    ///
    /// # Errors
    /// What is wrong, and what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("is longer than {LONGEST} bytes"));
        }
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(path);
        }
        if text.starts_with("https:") {
            return Err(format!(
                "{text:?} asks for TLS, which is not spoken here; send to a collector on this node, such as {EXAMPLE:?}, and let it \
                 send on with TLS"
            ));
        }
        if !text.starts_with("http://") {
            return Err(format!("{text:?} is no address of a collector; use one such as {EXAMPLE:?}"));
        }
        Self::http(text)
    }

    fn unix(path: &str) -> Result<Self, String> {
        // The kernel's limit, with the zero at the end.
        if !path.starts_with('/') || path.len() > 107 || path.contains('\0') {
            return Err(format!(
                "\"unix:{path}\" is no socket; use an absolute path of at most 107 bytes, such as \
                 \"unix:/run/otelcol/otlp.sock\""
            ));
        }
        Ok(Self { target: Target::Unix(path.into()), host: "localhost".to_owned(), path: PATH.to_owned() })
    }

    fn http(text: &str) -> Result<Self, String> {
        let uri = text.parse::<Uri>().map_err(|error| format!("{text:?} is no URL: {error}"))?;
        let authority = uri.authority().ok_or_else(|| format!("{text:?} names no address"))?;
        if authority.as_str().contains('@') || uri.query().is_some() || text.contains('#') {
            return Err(format!("{text:?} has more than an address, a port and a path; use one such as {EXAMPLE:?}"));
        }
        let port = authority.port_u16().filter(|port| *port > 0);
        let port = port.ok_or_else(|| format!("{text:?} names no port; OTLP over HTTP has 4318"))?;
        let host = authority.host();
        let addresses = match host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            Ok(address) if address.is_unspecified() || address.is_multicast() => {
                return Err(format!("{text:?} is not the address of a host; use one such as {EXAMPLE:?}"));
            }
            Ok(address) => vec![address],
            Err(_) if host == "localhost" => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            Err(_) => {
                return Err(format!(
                    "{text:?} has a name, and names are not looked up; use the address of a collector, such as {EXAMPLE:?}"
                ));
            }
        };
        let path = if uri.path() == "/" { PATH } else { uri.path() };
        Ok(Self {
            target: Target::Tcp(addresses.into_iter().map(|address| (address, port).into()).collect()),
            host: authority.to_string(),
            path: path.to_owned(),
        })
    }

    /// How it is reached.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// For the header of that name.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// What is asked for there.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Tcp(_) => write!(f, "http://{}{}", self.host, self.path),
            Target::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> (Vec<String>, String) {
        let endpoint = Endpoint::parse(text).unwrap();
        let Target::Tcp(addresses) = endpoint.target() else { panic!("{endpoint:?}") };
        (addresses.iter().map(ToString::to_string).collect(), endpoint.to_string())
    }

    #[test]
    fn addresses_are_taken_and_a_path_is_added_where_there_is_none() {
        let v4 = (vec!["127.0.0.1:4318".to_owned()], "http://127.0.0.1:4318/v1/traces".to_owned());
        for text in ["http://127.0.0.1:4318", "http://127.0.0.1:4318/", "http://127.0.0.1:4318/v1/traces"] {
            assert_eq!(tcp(text), v4);
        }
        assert_eq!(tcp("http://[fd00::1]:80/x/y"), (vec!["[fd00::1]:80".into()], "http://[fd00::1]:80/x/y".into()));
        let both = vec!["127.0.0.1:4318".to_owned(), "[::1]:4318".to_owned()];
        assert_eq!(tcp("http://localhost:4318"), (both, "http://localhost:4318/v1/traces".to_owned()));
    }

    #[test]
    fn sockets_are_taken() {
        let endpoint = Endpoint::parse("unix:/run/otelcol/otlp.sock").unwrap();
        assert_eq!(endpoint.target(), &Target::Unix("/run/otelcol/otlp.sock".into()));
        assert_eq!((endpoint.host(), endpoint.path()), ("localhost", "/v1/traces"));
        assert_eq!(endpoint.to_string(), "unix:/run/otelcol/otlp.sock");
    }

    #[test]
    fn everything_else_is_refused_with_what_to_do() {
        for (text, part) in [
            ("", "is no address of a collector"),
            ("127.0.0.1:4318", "is no address of a collector"),
            ("grpc://127.0.0.1:4317", "is no address of a collector"),
            ("https://127.0.0.1:4318/v1/traces", "let it send on with TLS"),
            ("http://", "is no URL"),
            ("http://127.0.0.1", "4318"),
            ("http://127.0.0.1:0", "4318"),
            ("http://127.0.0.1:99999", "4318"),
            ("http://0.0.0.0:4318", "not the address of a host"),
            ("http://[::]:4318", "not the address of a host"),
            ("http://224.0.0.1:4318", "not the address of a host"),
            ("http://collector:4318/v1/traces", "names are not looked up"),
            ("http://me:secret@127.0.0.1:4318", "more than an address"),
            ("http://127.0.0.1:4318/v1/traces?key=1", "more than an address"),
            ("http://127.0.0.1:4318/v1/traces#x", "more than an address"),
            ("http://127.0.0.1:4318/v1/\r\nX: y", "is no URL"),
            ("unix:otlp.sock", "absolute path"),
            ("unix:", "absolute path"),
        ] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
        assert!(Endpoint::parse(&format!("http://127.0.0.1:1/{}", "x".repeat(LONGEST))).is_err());
        assert!(Endpoint::parse(&format!("unix:/{}", "x".repeat(107))).is_err());
    }
}
