//! Opens the sockets that requests come in on.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use anyhow::Result;
use tokio::net::{self, TcpListener};

use crate::{
    config::Listen,
    exit::{Code, Failure},
};

/// `EAFNOSUPPORT` of Linux: the machine does not have this family of addresses.
const NO_SUCH_FAMILY: i32 = 97;

/// Listens on all addresses that a name has.
pub(crate) async fn bind(listen: &Listen) -> Result<Vec<TcpListener>> {
    let failed = |error: io::Error| {
        // A name that is unknown, or an address that is not this machine's, is a fault of the configuration.
        let code = if error.kind() == ErrorKind::AddrInUse { Code::Failed } else { Code::Usage };
        Failure::because(code, format!("cannot listen on {listen}"), error)
    };
    let hosts = if listen.host.is_empty() { vec!["::", "0.0.0.0"] } else { vec![listen.host.as_str()] };
    let mut listeners = Vec::<TcpListener>::new();
    let mut port = listen.port;
    let mut absent = None;
    for host in hosts {
        for address in net::lookup_host((host, port)).await.map_err(failed)? {
            let address = with_port(address, port);
            if listeners.iter().any(|other| other.local_addr().is_ok_and(|other| covers(other, address))) {
                continue;
            }
            match TcpListener::bind(address).await {
                // The system chooses one port for all addresses.
                Ok(listener) => {
                    port = listener.local_addr()?.port();
                    listeners.push(listener);
                }
                // The machine has no addresses of this family.
                Err(error) if is_absent(&error) => absent = Some(error),
                Err(error) => return Err(failed(error).into()),
            }
        }
    }
    match absent {
        Some(error) if listeners.is_empty() => Err(failed(error).into()),
        _ => Ok(listeners),
    }
}

/// Whether somebody else listens at an address.
pub(crate) fn is_taken(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|cause| cause.kind() == ErrorKind::AddrInUse)
}

fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

/// Whether a socket receives what is sent to an address: `::` is for IPv4, too.
fn covers(socket: SocketAddr, address: SocketAddr) -> bool {
    let is_all = socket.ip().is_unspecified() && socket.is_ipv6() && address.ip().is_unspecified();
    socket == address || (is_all && socket.port() == address.port())
}

fn is_absent(error: &io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(NO_SUCH_FAMILY)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn bound(text: &str) -> Result<Vec<SocketAddr>> {
        let listen = Listen::parse(text).unwrap_or_else(|| panic!("{text}"));
        let listeners = bind(&listen).await?;
        Ok(listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect())
    }

    #[tokio::test]
    async fn a_name_is_all_its_addresses_on_one_port_and_an_empty_one_is_all_of_the_machine() {
        let of_name = bound("localhost:0").await.unwrap_or_else(|error| panic!("{error:#}"));
        assert!(
            !of_name.is_empty() && of_name.iter().all(|it| it.ip().is_loopback() && it.port() == of_name[0].port())
        );
        let of_all = bound(":0").await.unwrap_or_else(|error| panic!("{error:#}"));
        assert!(of_all.len() == 1 && of_all[0].ip().is_unspecified(), "{of_all:?}");
        for text in ["no-such-host.invalid:0", "203.0.113.7:0"] {
            let failure = bound(text).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
            assert!(failure.contains(&format!("cannot listen on {text}")), "{failure}");
        }
    }
}
