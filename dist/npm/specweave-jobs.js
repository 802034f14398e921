#!/usr/bin/env node
// Runs the program of its own name for this machine's system in the place of this one: same terminal, same signals, same
// exit status.
"use strict";

const { spawn } = require("node:child_process");
const os = require("node:os");
const path = require("node:path");

const platform = `@specweave-jobs/${process.platform}-${process.arch}`;

let program;
try {
  program = path.join(path.dirname(require.resolve(`${platform}/package.json`)), "bin", path.basename(__filename, ".js"));
} catch {
  console.error(`error: there is no specweave-jobs for ${process.platform} on ${process.arch}, or npm did not install ${platform}`);
  console.error("hint: npm install specweave-jobs --include=optional, or build it: cargo install --path .");
  process.exit(1);
}

const child = spawn(program, process.argv.slice(2), { stdio: "inherit" });
// A terminal sends Ctrl-C to both; the program decides what becomes of it. Other signals are passed on.
process.on("SIGINT", () => {});
for (const signal of ["SIGTERM", "SIGHUP"]) {
  process.on(signal, () => child.kill(signal));
}
child.on("error", (error) => {
  console.error(`error: ${program} cannot be run: ${error.message}`);
  process.exit(1);
});
child.on("exit", (status, signal) => process.exit(signal ? 128 + os.constants.signals[signal] : status));
