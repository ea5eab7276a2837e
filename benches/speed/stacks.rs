//! What people would use instead: servers in Python and Node under `benches/stacks`, run if their packages are there.

use crate::server::Server;
use crate::stage::Stage;
use std::path::Path;
use std::process::{Command, Stdio};

/// A stack whose packages are there.
pub struct Stack {
    pub name: &'static str,
    program: String,
    arguments: &'static [&'static str],
    directory: Option<String>,
}

/// A stack that may be there.
struct Known {
    name: &'static str,
    /// A variable that names the interpreter, and what it is otherwise.
    program: (&'static str, &'static str),
    /// A variable that names the directory of `node_modules`.
    packages: Option<&'static str>,
    /// Ends well if the packages are there.
    probe: &'static [&'static str],
    arguments: &'static [&'static str],
}

const KNOWN: [Known; 2] = [
    Known {
        name: "Python: FastAPI, asyncpg",
        program: ("SPEED_PYTHON", "python3"),
        packages: None,
        probe: &["-c", "import fastapi, uvicorn, asyncpg, jwt"],
        arguments: &[concat!(env!("CARGO_MANIFEST_DIR"), "/benches/stacks/python/server.py")],
    },
    Known {
        name: "Node: Fastify, pg",
        program: ("SPEED_NODE", "node"),
        packages: Some("SPEED_NODE_PATH"),
        probe: &["-e", "require('fastify'), require('pg'), require('jsonwebtoken'), require('@fastify/compress')"],
        arguments: &[concat!(env!("CARGO_MANIFEST_DIR"), "/benches/stacks/node/server.js")],
    },
];

/// The stacks that can be run, and why the others cannot.
pub fn find() -> (Vec<Stack>, Vec<String>) {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for known in KNOWN {
        let (variable, usual) = known.program;
        let stack = Stack {
            name: known.name,
            program: std::env::var(variable).unwrap_or_else(|_| usual.to_owned()),
            arguments: known.arguments,
            directory: known.packages.and_then(|variable| std::env::var(variable).ok()),
        };
        let mut probe = stack.command(known.probe);
        let there = probe.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success());
        if there && Path::new(known.arguments[0]).exists() {
            found.push(stack);
        } else {
            let packages = known.packages.map_or(String::new(), |variable| format!(", {variable}"));
            missing.push(format!(
                "{}: `{}` or its packages are missing ({variable}{packages}; benches/README.md)",
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

    pub fn start(&self, stage: &Stage, database: &str) -> anyhow::Result<Server> {
        let name = self.name.split(':').next().unwrap_or(self.name);
        stage.stack(name, self.command(self.arguments), database)
    }
}
