//! Baselines: the textbook handler in Python and Node (`benches/stacks`). A stack runs if its packages are installed.

use crate::environment::Environment;
use crate::server::Server;
use std::path::Path;
use std::process::{Command, Stdio};

/// A stack whose packages are installed.
pub struct Stack {
    pub name: &'static str,
    program: String,
    arguments: &'static [&'static str],
    directory: Option<String>,
}

/// A stack that may be installed.
struct StackDefinition {
    name: &'static str,
    /// The environment variable that names the interpreter, and the default.
    program: (&'static str, &'static str),
    /// The environment variable that names the directory of `node_modules`.
    packages: Option<&'static str>,
    /// Arguments of a run that succeeds if the packages are installed.
    probe: &'static [&'static str],
    arguments: &'static [&'static str],
}

const DEFINITIONS: [StackDefinition; 2] = [
    StackDefinition {
        name: "Python: FastAPI, asyncpg",
        program: ("SPEED_PYTHON", "python3"),
        packages: None,
        probe: &["-c", "import fastapi, uvicorn, asyncpg, jwt"],
        arguments: &[concat!(env!("CARGO_MANIFEST_DIR"), "/benches/stacks/python/server.py")],
    },
    StackDefinition {
        name: "Node: Fastify, pg",
        program: ("SPEED_NODE", "node"),
        packages: Some("SPEED_NODE_PATH"),
        probe: &["-e", "require('fastify'), require('pg'), require('jsonwebtoken'), require('@fastify/compress')"],
        arguments: &[concat!(env!("CARGO_MANIFEST_DIR"), "/benches/stacks/node/server.js")],
    },
];

/// Returns the stacks that can run, and for each of the others why it cannot.
pub fn find() -> (Vec<Stack>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for known in DEFINITIONS {
        let (variable, default) = known.program;
        let stack = Stack {
            name: known.name,
            program: std::env::var(variable).unwrap_or_else(|_| default.to_owned()),
            arguments: known.arguments,
            directory: known.packages.and_then(|variable| std::env::var(variable).ok()),
        };
        let mut probe = stack.command(known.probe);
        let is_installed =
            probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if is_installed && Path::new(known.arguments[0]).exists() {
            found.push(stack);
        } else {
            let packages = known.packages.map_or(String::new(), |variable| format!(", {variable}"));
            missing.push(format!(
                "{}: `{}` or its packages are missing; set {variable}{packages} as docs/benchmarks.md says",
                known.name, stack.program
            ));
        }
    }
    (found, missing)
}

impl Stack {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments);
        if let Some(directory) = &self.directory {
            command.env("NODE_PATH", directory);
        }
        command
    }

    pub fn start(&self, environment: &Environment, database: &str) -> anyhow::Result<Server> {
        let name = self.name.split(':').next().unwrap_or(self.name);
        environment.stack(name, self.command(self.arguments), database)
    }
}
