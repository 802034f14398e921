// Hands the background jobs of SpecWeave over to specweave-jobs. `specweave-jobs hook install` puts this file into place and
// lets node load it before a program (NODE_OPTIONS=--require).
//
// In every program but SpecWeave's clone and import workers it does nothing. There it keeps SpecWeave's launcher satisfied,
// which waits for worker.pid, and then lets the daemon go on with the job under its own id. Where that does not come
// about, for whatever reason, the worker goes on as if this had never been loaded.
"use strict";

(() => {
  const PROGRAM = "@PROGRAM@";
  const [, script = "", id = "", project = ""] = process.argv;
  const isWorker = /[\\/]cli[\\/]workers[\\/](?:clone|import)-worker\.js$/.test(script);
  if (!isWorker || process.argv.length !== 4 || !/^[0-9a-f]{8}$/.test(id) || !project) return;
  try {
    const fs = require("node:fs");
    const path = require("node:path");
    const { spawnSync } = require("node:child_process");

    const specweave = path.join(project, ".specweave");
    const folder = path.join(specweave, "state", "jobs", id);
    const pidFile = path.join(folder, "worker.pid");
    if (!fs.existsSync(PROGRAM) || !fs.existsSync(path.join(folder, "config.json"))) return;
    if (setting(fs, path.join(specweave, "config.json")) !== "always") return;

    fs.writeFileSync(pidFile, String(process.pid));
    // The launcher looks ten times a second whether this process lives.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
    fs.unlinkSync(pidFile);

    const environment = { ...process.env };
    delete environment.NODE_OPTIONS;
    const { status } = spawnSync(PROGRAM, ["--project", project, "resume", id], {
      env: environment,
      stdio: "ignore",
      timeout: 60_000,
    });
    if (status === 0) process.exit(0);
  } catch {
    // The worker does its work itself.
  }

  // `jobs.takeOver` of the project's configuration.
  function setting(fs, file) {
    try {
      return JSON.parse(fs.readFileSync(file, "utf8")).jobs?.takeOver ?? "always";
    } catch {
      return "always";
    }
  }
})();
