//! A broker in another process.

use millrace_client::{BrokerError, RemoteBroker, RemoteOptions};

use crate::exit::{Exit, Failure};

/// Finds the broker and connects to it, in one attempt of a few seconds: whoever names a broker
/// that is not there should hear it at once.
pub(crate) async fn connect(namesrv: &str, broker: Option<&str>) -> Result<RemoteBroker, Failure> {
    let options = RemoteOptions { broker: broker.map(str::to_owned), ..RemoteOptions::default() };
    RemoteBroker::connect(namesrv, options).await.map_err(|error| {
        let refused = matches!(error, BrokerError::Refused(_));
        let mut failure = Failure::from(error);
        if refused {
            // Nothing was asked for yet, so it is not the kind of broker that it should be.
            failure.exit = Exit::Environment;
        }
        failure
    })
}

/// Name servers as a person writes them: `host:port`, several with `;` in between.
pub(crate) fn parse_namesrv(text: &str) -> Result<String, String> {
    let mut parts = text.split(';').map(str::trim).filter(|part| !part.is_empty()).peekable();
    if parts.peek().is_none() {
        return Err("write it as `host:port`".to_owned());
    }
    for part in parts {
        let port = part.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        if port.is_none_or(|(_, port)| port.parse::<u16>().is_err()) {
            return Err(format!("`{part}` is not of the form `host:port`"));
        }
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_server_has_a_host_and_a_port() {
        for good in ["localhost:9876", "127.0.0.1:1;broker-2:9876", "[::1]:9876", "a:1;"] {
            assert_eq!(parse_namesrv(good).as_deref(), Ok(good));
        }
        for bad in ["", ";", "localhost", ":9876", "a:b", "a:99999", "a:1;b"] {
            assert!(parse_namesrv(bad).is_err(), "{bad}");
        }
    }
}
