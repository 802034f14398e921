// A stock connect-node client with generated code takes every call of the contract that an editor needs. Prints one JSON line for each.
// `tests/contract.rs` runs it:
//   node contract.js begin <specweave-jobs> <source>...   up to a job that was killed, over a crash and a stop of the daemon
//   node contract.js end <specweave-jobs> <job>           resumes it, follows it to its end, and removes it
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { execFileSync } from "node:child_process";
import net from "node:net";
import { ErrorInfo } from "../src/error-info";
import { type FollowJobResponse, type Job, JobsService, JobState } from "../gen/specweave/jobs/v1/jobs_pb";

const [part, program, ...rest] = process.argv.slice(2) as [string, string, ...string[]];
const say = (what: string, value: unknown) => console.log(JSON.stringify({ [what]: value }));
const run = (...words: string[]) => execFileSync(program, words, { encoding: "utf8" });

/** Starts the daemon if none runs. */
function connect() {
  const { endpoint, pid } = JSON.parse(run("endpoint", "--start")) as { endpoint: string; pid: number };
  const transport = createGrpcTransport({
    baseUrl: "http://localhost",
    nodeOptions: { createConnection: () => net.connect(endpoint.slice("unix:".length)) },
    defaultTimeoutMs: 20_000,
  });
  return { client: createClient(JobsService, transport), pid };
}

const reason = (error: unknown) => ConnectError.from(error).findDetails(ErrorInfo)[0]?.reason;
const refused = (promise: Promise<unknown>) => promise.then(() => "nothing was refused", reason);

function state({ event }: FollowJobResponse): Job | undefined {
  return event.case === "snapshot" || event.case === "changed" ? event.value : undefined;
}

async function next<T>(messages: AsyncIterator<T>): Promise<T> {
  const { value, done } = await messages.next();
  if (done) throw new Error("the stream has ended");
  return value;
}

/** Reads a stream to the error that ends it. */
async function broken(messages: AsyncIterator<unknown>): Promise<unknown> {
  try {
    while (!(await messages.next()).done);
  } catch (error) {
    return error;
  }
  return undefined;
}

async function begin(sources: string[]) {
  let { client, pid } = connect();
  const start = { spec: { work: { case: "clone" as const, value: { sources } } }, requestId: "walk" };
  const { id, typeName } = (await client.startJob(start)).job!;
  say("started", [typeName, (await client.startJob(start)).job?.id === id]);

  const { event } = await next(client.watchJobs({})[Symbol.asyncIterator]());
  say("watched", event.case === "snapshot" && event.value.jobs[0]?.id === id);

  let messages = client.followJob({ id })[Symbol.asyncIterator]();
  let seen = await next(messages);
  while (state(seen)?.progress?.current !== BigInt(sources.length - 1)) seen = await next(messages);
  say("followed", Number(state(seen)?.progress?.current));
  const got = await client.getJob({ id: id.slice(0, 4), itemPageSize: 10 });
  say("got", [got.job?.id === id, got.items.length, (await client.listJobs({})).jobs.length]);

  process.kill(pid, "SIGKILL");
  // This library calls a connection that is gone a cancellation, which it is not.
  say("crashed", [Code.Canceled, Code.Unavailable].includes(ConnectError.from(await broken(messages)).code));
  ({ client, pid } = connect());
  messages = client.followJob({ id, epoch: seen.epoch, sinceRevision: seen.revision })[Symbol.asyncIterator]();
  const message = await next(messages);
  say("again", [message.epoch !== seen.epoch, Number(state(message)?.progress?.current)]);

  run("daemon", "stop");
  say("stopped", reason(await broken(messages)));
  ({ client, pid } = connect());
  const again = await next(client.followJob({ id })[Symbol.asyncIterator]());
  say("and again", Number(state(again)?.progress?.current));
  const log: Uint8Array[] = [];
  for await (const { chunk } of client.tailLog({ id })) log.push(chunk);
  say("logged", Buffer.concat(log).includes("repo-000"));

  say("killed", [(await client.killJob({ id })).job?.state === JobState.PAUSED, id]);
}

async function end([id]: string[]) {
  const { client } = connect();
  await client.resumeJob({ id });
  let last: Job | undefined;
  for await (const message of client.followJob({ id })) last = state(message) ?? last;
  say("ended", [last?.state === JobState.COMPLETED, Number(last?.progress?.current)]);

  say("refused", [
    await refused(client.getJob({ id: "ffffffff" })),
    await refused(client.startJob({})),
    await refused(client.killJob({ id })),
    await refused(client.resumeJob({ id })),
    await refused(client.getConflict({ story: "US-001" })),
  ]);
  const { conflicts } = await client.listConflicts({});
  await client.removeJob({ id });
  say("left", [conflicts.length, (await client.listJobs({})).jobs.length]);
}

// Streams that are still open would keep the process.
(part === "begin" ? begin(rest) : end(rest)).then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
