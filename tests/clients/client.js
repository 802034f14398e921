// A stock grpc-js client that reads the .proto takes every call of the contract that an editor needs. Prints one JSON line for each.
//   node client.js <proto folder> begin <specweave-jobs> <source>...   up to a job that was killed, over a crash and a stop of the daemon
//   node client.js <proto folder> end <specweave-jobs> <job>           resumes it, follows it to its end, and removes it
const { execFileSync } = require("node:child_process");
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");
const protobuf = require("protobufjs");

const [protos, part, program, ...rest] = process.argv.slice(2);
const options = { includeDirs: [protos], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true };
const { JobsService } = grpc.loadPackageDefinition(loader.loadSync("specweave/jobs/v1/jobs.proto", options)).specweave.jobs.v1;
const say = (what, value) => console.log(JSON.stringify({ [what]: value }));

// How every gRPC server tells more of an error than its code.
const details = protobuf.parse(`syntax = "proto3"; package google;
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }`).root;
function reason(error) {
  const [bytes] = error.metadata.get("grpc-status-details-bin");
  const { value } = details.lookupType("google.Status").decode(bytes).details[0];
  return details.lookupType("google.ErrorInfo").decode(value).reason;
}

const run = (...words) => execFileSync(program, words, { encoding: "utf8" });

// Starts the daemon if none runs.
function connect() {
  const { endpoint, pid } = JSON.parse(run("endpoint", "--start"));
  // Connections are shared by address, and the next daemon has the same one: a client of its own is not given the last one's.
  const client = new JobsService(endpoint, grpc.credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
  const call = (name, request = {}) => new Promise((resolve, reject) =>
    client[name](request, { deadline: Date.now() + 20_000 }, (error, answer) => (error ? reject(error) : resolve(answer))));
  return { client, pid, call };
}
const refused = (promise) => promise.then(() => "nothing was refused", reason);
const state = (message) => message.snapshot ?? message.changed;
const next = async (messages) => (await messages.next()).value;
async function broken(messages) {
  try {
    while (!(await messages.next()).done);
  } catch (error) {
    return error;
  }
}
const follow = (client, request) => client.FollowJob(request)[Symbol.asyncIterator]();

async function begin(sources) {
  let { client, pid, call } = connect();
  const start = { spec: { clone: { sources } }, request_id: "walk" };
  const { job: { id, type_name } } = await call("StartJob", start);
  say("started", [type_name, (await call("StartJob", start)).job.id === id]);

  const watch = client.WatchJobs({});
  say("watched", (await next(watch[Symbol.asyncIterator]())).snapshot.jobs[0].id === id);

  let messages = follow(client, { id });
  let seen;
  do seen = await next(messages);
  while (state(seen)?.progress.current !== sources.length - 1);
  say("followed", state(seen).progress.current);
  const got = await call("GetJob", { id: id.slice(0, 4), item_page_size: 10 });
  say("got", [got.job.id === id, got.items.length, (await call("ListJobs")).jobs.length]);

  process.kill(pid, "SIGKILL");
  say("crashed", (await broken(messages)).code === grpc.status.UNAVAILABLE);
  ({ client, pid, call } = connect());
  messages = follow(client, { id, epoch: seen.epoch, since_revision: seen.revision });
  let message = await next(messages);
  say("again", [message.epoch !== seen.epoch, state(message).progress.current]);

  run("daemon", "stop");
  say("stopped", reason(await broken(messages)));
  ({ client, pid, call } = connect());
  messages = follow(client, { id });
  say("and again", state(await next(messages)).progress.current);
  const log = await client.TailLog({ id }).map(({ chunk }) => chunk).toArray();
  say("logged", Buffer.concat(log).includes("repo-000"));

  say("killed", [(await call("KillJob", { id })).job.state === "JOB_STATE_PAUSED", id]);
}

async function end([id]) {
  const { client, call } = connect();
  await call("ResumeJob", { id });
  let last;
  for await (const message of client.FollowJob({ id })) last = state(message) ?? last;
  say("ended", [last.state === "JOB_STATE_COMPLETED", last.progress.current]);

  say("refused", [
    await refused(call("GetJob", { id: "ffffffff" })),
    await refused(call("StartJob")),
    await refused(call("KillJob", { id })),
    await refused(call("ResumeJob", { id })),
    await refused(call("GetConflict", { story: "US-001" })),
  ]);
  const { conflicts } = await call("ListConflicts");
  await call("RemoveJob", { id });
  say("left", [conflicts.length, (await call("ListJobs")).jobs.length]);
}

// Streams that are still open would keep the process.
({ begin, end })[part](rest).then(() => process.exit(0), (error) => { console.error(error); process.exit(1); });
