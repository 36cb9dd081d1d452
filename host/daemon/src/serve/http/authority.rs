//! Whom a request is meant for: the `Host` header, and the target if it names a host as well.

use std::net::{Ipv4Addr, Ipv6Addr};

use hyper::header::HOST;
use hyper::{Request, Version};

/// What keeps a request from being answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not say once whom it is meant for.
    Malformed,
    /// It is meant for another host.
    Elsewhere,
}

/// Checks whom a request is meant for. `local`: it must be this machine, by a name that no DNS server can give away.
///
/// # Errors
/// [`Fault`] says what is wrong.
pub fn check<B>(request: &Request<B>, local: bool) -> Result<(), Fault> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    if another.is_some() || (host.is_none() && request.version() >= Version::HTTP_11) {
        return Err(Fault::Malformed);
    }
    if !local {
        return Ok(());
    }
    let host = host.map(|host| host.to_str().map_err(|_| Fault::Malformed)).transpose()?;
    let target = request.uri().authority().map(|authority| authority.as_str());
    let plain_http = request.uri().scheme_str().is_none_or(|scheme| scheme.eq_ignore_ascii_case("http"));
    let ours = host.into_iter().chain(target).all(is_local);
    if ours && plain_http { Ok(()) } else { Err(Fault::Elsewhere) }
}

/// Whether `host[:port]` is `localhost` or an address. Names are a DNS server's to give: one may lead here.
pub fn is_local(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            // No zone: it means nothing to another machine, and a browser sends none.
            Some((address, port)) if address.parse::<Ipv6Addr>().is_ok() => (None, port),
            _ => return false,
        },
        None => {
            let end = authority.find(':').unwrap_or(authority.len());
            (Some(&authority[..end]), &authority[end..])
        }
    };
    let named = host.is_none_or(|host| host.eq_ignore_ascii_case("localhost") || host.parse::<Ipv4Addr>().is_ok());
    named && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
}
