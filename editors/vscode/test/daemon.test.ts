// The daemon as the extension finds it, watches it and lets it go: with a daemon of the test's own at a real socket.
import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as http2 from "node:http2";
import * as os from "node:os";
import * as path from "node:path";
import { after, test } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { Daemon, type State } from "../src/daemon";
import { JobsService, JobState, WatchJobsResponseSchema } from "../gen/specweave/jobs/v1/jobs_pb";

const worlds: string[] = [];
after(() => worlds.forEach((root) => fs.rmSync(root, { recursive: true, force: true })));

/** A project, and a program in the place of the command line that knows one job from its files. */
function world() {
  const root = fs.mkdtempSync(path.join(os.tmpdir(), "swj-"));
  worlds.push(root);
  const state = path.join(root, ".specweave/state/jobs-daemon");
  fs.mkdirSync(state, { recursive: true });
  const program = path.join(root, "program");
  const said = JSON.stringify({ jobs: [{ id: "ae362dfe", state: "paused" }] });
  fs.writeFileSync(program, `#!/bin/sh\necho "$*" >> '${root}/calls'\necho '${said}'\n`, { mode: 0o755 });
  const endpoint = path.join(state, "endpoint.json");
  const publish = (socket: string) => {
    fs.writeFileSync(`${endpoint}.new`, JSON.stringify({ endpoint: `unix:${socket}` }));
    fs.renameSync(`${endpoint}.new`, endpoint);
  };
  const calls = () => (fs.existsSync(path.join(root, "calls")) ? fs.readFileSync(path.join(root, "calls"), "utf8") : "");
  return { root, program, publish, calls };
}

/** A daemon that streams one job in this state, and says every few milliseconds that it lives, unless it is silent. */
async function daemonOf(root: string, state: JobState, inode?: bigint, isSilent = false) {
  const here = fs.statSync(path.join(root, ".specweave"), { bigint: true });
  let streams = 0;
  let opened = 0;
  let beats = 0;
  const server = http2.createServer(
    connectNodeAdapter({
      routes: (router) =>
        router.service(JobsService, {
          getInfo: () => ({ specweaveInode: inode ?? here.ino, specweaveDevice: here.dev }),
          async *watchJobs(_request, { signal }): AsyncGenerator<MessageInitShape<typeof WatchJobsResponseSchema>> {
            streams += 1;
            opened += 1;
            try {
              yield { event: { case: "snapshot", value: { jobs: [{ id: "ae362dfe", state }] } } };
              while (!signal.aborted) {
                await new Promise((resolve) => setTimeout(resolve, 10));
                if (isSilent) continue;
                yield { event: { case: "heartbeat", value: {} } };
                beats += 1;
              }
            } finally {
              streams -= 1;
            }
          },
        }),
    }),
  );
  const sessions = new Set<http2.ServerHttp2Session>();
  server.on("session", (session) => sessions.add(session));
  const socket = path.join(root, `s${Math.random()}`);
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  /** As one that is killed: its socket stays. */
  const close = () => {
    fs.renameSync(socket, `${socket}.kept`);
    sessions.forEach((session) => session.destroy());
    server.close();
    fs.renameSync(`${socket}.kept`, socket);
  };
  return { socket, streams: () => streams, opened: () => opened, beats: () => beats, close };
}

function watched(root: string, program: string, isTrusted = true, silentMs = 60_000) {
  const states: State[] = [];
  const listener = { jobs: () => undefined, state: (state: State) => void states.push(state) };
  const daemon = new Daemon(root, { program: () => program, isTrusted: () => isTrusted }, listener, { lingerMs: 200, silentMs });
  return { daemon, states, shown: () => [...daemon.jobs.values()].map((job) => JobState[job.state]) };
}

/** A daemon in a project, and the extension's side that watches it. */
async function watching(state: JobState, { inode, silentMs }: { inode?: bigint; silentMs?: number } = {}) {
  const made = world();
  const served = await daemonOf(made.root, state, inode, silentMs !== undefined);
  made.publish(served.socket);
  return { ...made, served, ...watched(made.root, made.program, true, silentMs) };
}

async function until(what: string, look: () => boolean) {
  for (const began = Date.now(); !look(); await new Promise((resolve) => setTimeout(resolve, 10))) {
    if (Date.now() - began > 10_000) throw new Error(`${what}: it did not come about`);
  }
}

test("the stream of a daemon with nothing to do is let go, however often it says that it lives", async () => {
  const { served, daemon, states } = await watching(JobState.COMPLETED);
  await until("a stream", () => served.streams() === 1);
  await until("it is let go", () => served.streams() === 0);
  await until("it rests", () => states.at(-1) === "resting");
  assert.equal(served.opened(), 1);
  daemon.close();
  served.close();
});

test("the stream of a daemon with an active job stays", async () => {
  const { served, daemon, states, shown } = await watching(JobState.RUNNING);
  await until("a stream", () => states.at(-1) === "ready");
  await until("it would have been let go", () => served.beats() >= 60);
  assert.deepEqual([served.streams(), served.opened(), shown()], [1, 1, ["RUNNING"]]);
  daemon.close();
  await until("it is let go", () => served.streams() === 0);
  served.close();
});

test("what a daemon that died has left is no daemon: the files say what is known, and the next one is watched", async () => {
  const { root, publish, served: first, daemon, states, shown } = await watching(JobState.RUNNING);
  await until("it is watched", () => shown()[0] === "RUNNING");
  first.close();
  await until("the files are read", () => shown()[0] === "PAUSED" && states.at(-1) === "resting");
  const second = await daemonOf(root, JobState.RUNNING);
  publish(second.socket);
  await until("the next one is watched", () => shown()[0] === "RUNNING" && states.at(-1) === "ready");
  daemon.close();
  second.close();
});

test("a stream that says nothing any more is taken up anew", async () => {
  const { served, daemon, shown } = await watching(JobState.RUNNING, { silentMs: 100 });
  await until("another stream", () => served.opened() >= 2);
  assert.deepEqual(shown(), ["RUNNING"]);
  daemon.close();
  served.close();
});

test("a daemon that died while nobody watched it is none for a look", async () => {
  const { served, daemon, states } = await watching(JobState.COMPLETED);
  await until("it rests", () => states.at(-1) === "resting");
  assert.ok(await daemon.running());
  served.close();
  assert.equal(await daemon.running(), undefined);
  daemon.close();
});

test("another project's daemon is none, for a look and for a change", async () => {
  const { calls, served, daemon, shown } = await watching(JobState.RUNNING, { inode: 1n });
  await until("the files are read", () => shown()[0] === "PAUSED");
  assert.equal(await daemon.running(), undefined);
  await assert.rejects(daemon.started(), /has published no endpoint/);
  assert.ok(calls().includes("endpoint --start"));
  assert.equal(served.opened(), 0);
  daemon.close();
  served.close();
});

test("nothing is started in a workspace that is not trusted", async () => {
  const { root, program, calls } = world();
  const { daemon, shown } = watched(root, program, false);
  await until("the files are read", () => shown()[0] === "PAUSED");
  await assert.rejects(daemon.started(), /not trusted/);
  assert.ok(!calls().includes("--start"));
  daemon.close();
});

test("a program that is not there is said, and looked for again", async () => {
  const { root, program } = world();
  const hidden = `${program}.hidden`;
  fs.renameSync(program, hidden);
  const { daemon, states } = watched(root, program);
  await until("it is said", () => states.at(-1) === "noProgram");
  fs.renameSync(hidden, program);
  daemon.lookAgain();
  await until("it is found", () => states.at(-1) === "resting");
  daemon.close();
});
