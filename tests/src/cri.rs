//! A client of the Container Runtime Interface, as kubelet is one, with the few members that the
//! stories need.
//!
//! gRPC is messages of protobuf in a stream of HTTP/2: `h2` speaks that, `prost` encodes. A whole
//! gRPC library would bring four times the crates, and a compiler for the interface's description;
//! crictl is not in Debian.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use prost::Message;

/// The socket of an engine.
#[derive(Debug)]
pub struct Cri {
    socket: PathBuf,
}

// The numbers are those of api.proto, runtime.v1.

/// A pod, of `RunPodSandbox`.
#[derive(Clone, PartialEq, Message)]
pub struct PodConfig {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<PodMetadata>,
    #[prost(string, tag = "3")]
    pub log_directory: String,
    #[prost(map = "string, string", tag = "7")]
    pub annotations: HashMap<String, String>,
    #[prost(message, optional, tag = "8")]
    pub linux: Option<PodLinux>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodLinux {
    #[prost(string, tag = "1")]
    pub cgroup_parent: String,
    #[prost(message, optional, tag = "2")]
    pub security: Option<PodSecurity>,
}

#[derive(Clone, PartialEq, Message)]
pub struct PodSecurity {
    #[prost(message, optional, tag = "1")]
    pub namespaces: Option<NamespaceOption>,
}

/// 0 is the pod's, 1 the container's, 2 the node's.
#[derive(Clone, PartialEq, Message)]
pub struct NamespaceOption {
    #[prost(int32, tag = "1")]
    pub network: i32,
    #[prost(int32, tag = "2")]
    pub pid: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct RunPod {
    #[prost(message, optional, tag = "1")]
    pub config: Option<PodConfig>,
    #[prost(string, tag = "2")]
    pub handler: String,
}

/// A request about, or an answer with, one id; and the seconds that a stop may take.
#[derive(Clone, PartialEq, Message)]
pub struct Id {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(int64, tag = "2")]
    pub timeout: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct CreateContainer {
    #[prost(string, tag = "1")]
    pub pod: String,
    #[prost(message, optional, tag = "2")]
    pub config: Option<ContainerConfig>,
    #[prost(message, optional, tag = "3")]
    pub pod_config: Option<PodConfig>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerConfig {
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "2")]
    pub image: Option<Image>,
    #[prost(string, repeated, tag = "3")]
    pub command: Vec<String>,
    #[prost(string, tag = "11")]
    pub log_path: String,
    #[prost(bool, tag = "14")]
    pub tty: bool,
    #[prost(message, optional, tag = "15")]
    pub linux: Option<ContainerLinux>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(uint32, tag = "2")]
    pub attempt: u32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Image {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerLinux {
    #[prost(message, optional, tag = "1")]
    pub resources: Option<Resources>,
    #[prost(message, optional, tag = "2")]
    pub security: Option<ContainerSecurity>,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerSecurity {
    #[prost(message, optional, tag = "3")]
    pub namespaces: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Resources {
    #[prost(int64, tag = "3")]
    pub cpu_shares: i64,
    #[prost(int64, tag = "4")]
    pub memory_limit: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Update {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub linux: Option<Resources>,
}

#[derive(Clone, PartialEq, Message)]
pub struct StatusAnswer {
    #[prost(message, optional, tag = "1")]
    pub status: Option<Status>,
}

/// State 0 is created, 1 running, 2 exited.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    #[prost(int32, tag = "3")]
    pub state: i32,
    #[prost(int32, tag = "7")]
    pub exit_code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Exec {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, repeated, tag = "2")]
    pub command: Vec<String>,
    #[prost(int64, tag = "3")]
    pub timeout: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct ExecAnswer {
    #[prost(bytes = "vec", tag = "1")]
    pub stdout: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub stderr: Vec<u8>,
    #[prost(int32, tag = "3")]
    pub exit_code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct ImageStatus {
    #[prost(message, optional, tag = "1")]
    pub image: Option<Image>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Empty {}

impl Cri {
    pub fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// One call, as `RuntimeService/Version`.
    pub fn call<A: Message + Default>(&self, method: &str, request: &impl Message) -> Result<A> {
        let mut framed = vec![0];
        let encoded = request.encode_to_vec();
        framed.extend(u32::try_from(encoded.len())?.to_be_bytes());
        framed.extend(encoded);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let answer = runtime
            .block_on(self.exchange(method, framed))
            .with_context(|| format!("call {method} at {}", self.socket.display()))?;
        // One message that is not compressed: a zero, its length, the message.
        ensure!(answer.len() >= 5 && answer[0] == 0, "{method} answers {answer:?}");
        Ok(A::decode(&answer[5..])?)
    }

    async fn exchange(&self, method: &str, request: Vec<u8>) -> Result<Vec<u8>> {
        let stream = tokio::net::UnixStream::connect(&self.socket).await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        let head = http::Request::post(format!("http://localhost/runtime.v1.{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let (response, mut body) = sender.ready().await?.send_request(head, false)?;
        body.send_data(request.into(), true)?;
        let (head, mut body) = response.await?.into_parts();
        let mut answer = Vec::new();
        while let Some(part) = body.data().await {
            let part = part?;
            body.flow_control().release_capacity(part.len())?;
            answer.extend_from_slice(&part);
        }
        let trailers = body.trailers().await?.unwrap_or(head.headers);
        let said = |name| trailers.get(name).and_then(|value| value.to_str().ok());
        match said("grpc-status") {
            Some("0") => Ok(answer),
            status => bail!("status {status:?}: {}", said("grpc-message").unwrap_or_default()),
        }
    }
}
