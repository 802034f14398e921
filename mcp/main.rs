//! `specweave-jobs-mcp`: the jobs of the project in whose folder it is started, for coding agents over the Model Context
//! Protocol on standard input and output. It owns nothing and decides nothing: each tool is one command of the client beside
//! it, asked for JSON, and never passes through a shell.

mod tools;

use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CallToolRequestParams, CallToolResult, ContentBlock, ErrorData, Implementation, JsonObject,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerInfo, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServiceExt};
use serde_json::Value;
use std::path::PathBuf;
use std::process::{ExitCode, Stdio};
use std::time::Duration;
use tokio::process::Command;

/// No command takes longer: what waits has a limit of its own that is shorter.
const LONGEST: Duration = Duration::from_secs(660);

const INSTRUCTIONS: &str = "Background jobs of this SpecWeave project: cloning repositories, importing issues, syncing with a \
    tracker. A job goes on by itself once it is started; `wait` returns when it has ended or the time is over. Preview what \
    would be done before a first import or sync, and ask the user before you start, resolve or kill something that they did not \
    ask for. A job that is paused with a moment goes on by itself.";

struct Jobs {
    client: PathBuf,
}

impl ServerHandler for Jobs {
    fn get_info(&self) -> ServerInfo {
        let own = Implementation::new("specweave-jobs", env!("CARGO_PKG_VERSION"));
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerInfo::new(capabilities).with_server_info(own).with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::ALL.iter().map(tools::Definition::tool).collect()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::find(name).map(tools::Definition::tool)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let tool = tools::find(&request.name)
            .ok_or_else(|| ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None))?;
        let arguments: JsonObject = request.arguments.unwrap_or_default();
        let words = match tool.words(&arguments) {
            Ok(words) => words,
            Err(wrong) => return Ok(CallToolResult::error(vec![ContentBlock::text(wrong)])),
        };
        let result = tokio::select! {
            result = tokio::time::timeout(LONGEST, self.run(&words)) => {
                result.unwrap_or_else(|_| failed("the command took too long and was ended; a job that it started goes on"))
            }
            () = context.ct.cancelled() => failed("cancelled; a job that was started goes on"),
        };
        Ok(result)
    }
}

impl Jobs {
    /// Runs the client; what it prints is the result.
    async fn run(&self, words: &[String]) -> CallToolResult {
        let output = Command::new(&self.client)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .output()
            .await;
        let output = match output {
            Ok(output) => output,
            Err(error) => return failed(&format!("{} cannot be run: {error}", self.client.display())),
        };
        match serde_json::from_slice::<Value>(&output.stdout) {
            Ok(told) if told.get("error").is_some_and(Value::is_object) => {
                CallToolResult::structured_error(told)
            }
            Ok(told) if told.is_object() => CallToolResult::structured(told),
            _ => failed(String::from_utf8_lossy(&output.stderr).trim()),
        }
    }
}

fn failed(why: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(why.to_owned())])
}

/// The client that belongs to this program: the one beside it, else the one in PATH.
fn client() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|program| program.canonicalize().ok());
    let beside = beside.map(|program| program.with_file_name("specweave-jobs")).filter(|path| path.exists());
    beside.unwrap_or_else(|| PathBuf::from("specweave-jobs"))
}

fn main() -> ExitCode {
    if std::env::args().nth(1).is_some() {
        eprintln!(
            "specweave-jobs-mcp {}: serves the jobs of the project in the current folder over the Model Context Protocol, on \
             standard input and output. It takes no arguments.",
            env!("CARGO_PKG_VERSION")
        );
        return ExitCode::from(2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = runtime.map_err(|error| error.to_string()).and_then(|runtime| {
        let served = runtime.block_on(serve());
        // A thread that still reads standard input must not hold up the end.
        runtime.shutdown_background();
        served
    });
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), String> {
    let transport = (tokio::io::stdin(), tokio::io::stdout());
    let service = Jobs { client: client() }.serve(transport).await.map_err(|error| error.to_string())?;
    service.waiting().await.map_err(|error| error.to_string())?;
    Ok(())
}
