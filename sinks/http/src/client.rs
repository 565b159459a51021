use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::RETRY_AFTER;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Method};

use crate::answer::Answer;
use crate::request::Request;
use crate::sink::{NoAnswer, Transport};

/// How requests are carried.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// How long a request may take, from the connection to the end of the answer.
    pub timeout: Duration,
    /// The most bytes that are read of an answer.
    pub max_response: usize,
    /// Whether requests go over TLS.
    pub tls: bool,
    /// Whom to trust beside the authorities of the system.
    pub ca: Option<Authorities>,
}

/// A file with certificates of authorities, as it was read.
#[derive(Clone, Debug)]
pub struct Authorities {
    /// The file, for messages.
    pub path: PathBuf,
    /// What is in it.
    pub pem: Vec<u8>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of certificates has none.
    #[error("{} has no certificate in PEM", .0.display())]
    NoCertificate(PathBuf),
    /// The library refuses.
    #[error("cannot prepare requests: {0}")]
    Build(String),
}

/// Requests over the network.
#[derive(Clone, Debug)]
pub struct Client {
    client: reqwest::Client,
    options: ClientOptions,
}

impl Client {
    /// Prepares requests; nothing is sent.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        // Somebody else may have chosen one in this process; that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("millrace/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .no_proxy()
            .timeout(options.timeout);
        if !options.tls {
            // Then a system without certificates will do.
            let none = rustls::RootCertStore::empty();
            let config = rustls::ClientConfig::builder().with_root_certificates(none);
            builder = builder.tls_backend_preconfigured(config.with_no_client_auth());
        } else if let Some(Authorities { path, pem }) = &options.ca {
            let certificates = Certificate::from_pem_bundle(pem).unwrap_or_default();
            if certificates.is_empty() {
                return Err(ClientError::NoCertificate(path.clone()));
            }
            builder = builder.tls_certs_merge(certificates);
        }
        let client = builder.build().map_err(|error| ClientError::Build(told(error)))?;
        Ok(Self { client, options })
    }

    async fn ask(&self, request: &Request) -> Result<Answer, reqwest::Error> {
        let method = Method::from_bytes(request.method.as_bytes()).unwrap_or(Method::POST);
        let mut asked = self.client.request(method, &request.url).body(request.body.clone());
        for (name, value) in &request.headers {
            asked = asked.header(name, value);
        }
        let mut response = asked.send().await?;
        let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| {
            let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
            Some(Duration::from_secs(seconds))
        });
        let mut answer =
            Answer { status: response.status().as_u16(), retry_after, ..Answer::default() };
        while let Some(chunk) = response.chunk().await? {
            let room = self.options.max_response - answer.body.len();
            answer.body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if chunk.len() > room {
                answer.is_cut = true;
                break;
            }
        }
        Ok(answer)
    }
}

#[async_trait]
impl Transport for Client {
    async fn send(&self, request: &Request) -> Result<Answer, NoAnswer> {
        self.ask(request).await.map_err(|error| {
            let host = host(&request.url);
            NoAnswer(if error.is_timeout() {
                format!("{host} did not answer within {:?}", self.options.timeout)
            } else {
                format!("{host}: {}", told(error))
            })
        })
    }
}

/// What of a URL can be shown: where a token may be, behind the host, nothing.
fn host(url: &str) -> &str {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let end = url[begin..].find(['/', '?']).map_or(url.len(), |at| begin + at);
    &url[..end]
}

/// An error with its causes and without the URL.
fn told(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}
