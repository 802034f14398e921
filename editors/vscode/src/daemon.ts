// The daemon of one project: finds it by its endpoint file, watches its jobs, and comes back quietly. It starts a daemon only when
// it is told to, and holds a stream only while there is something to watch, so that a daemon with nothing to do can leave.
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { isActive } from "./board";
import type { JobsClient } from "./contract";
import type { Job } from "../gen/specweave/jobs/v1/jobs_pb";

export type State = "resting" | "ready" | "unreachable" | "noProgram";

export interface Listener {
  jobs(jobs: ReadonlyMap<string, Job>, changed: Job[], removed: string[], isFirst: boolean): void;
  state(state: State, why: string): void;
}

/** After so long without an active job the stream is let go. */
const LINGER_MS = 20_000;
const RETRY_MS = [100, 250, 500, 1_000, 2_000, 5_000];
const CALL_MS = 30_000;

export class Daemon {
  private readonly known = new Map<string, Job>();
  /** The one connection, by the endpoint that it leads to. */
  private connection: { endpoint: string; client: JobsClient } | undefined;
  private watching: AbortController | undefined;
  private tries = 0;
  private retry: NodeJS.Timeout | undefined;
  private linger: NodeJS.Timeout | undefined;
  private hasLooked = false;
  private isClosed = false;

  constructor(
    readonly root: string,
    private readonly program: () => string,
    private readonly listener: Listener,
  ) {
    // A file that is replaced cannot be watched by its inode, and its folder need not exist yet: it is looked at.
    fs.watchFile(this.endpointFile, { interval: 500 }, (now, before) => {
      if (now.mtimeMs !== before.mtimeMs && now.size > 0) this.comeBack();
    });
    fs.watchFile(this.listFile, { interval: 1_000 }, (now, before) => {
      if (now.mtimeMs !== before.mtimeMs && !this.watching) this.comeBack();
    });
    this.comeBack();
  }

  private get endpointFile(): string {
    return path.join(this.root, ".specweave/state/jobs-daemon/endpoint.json");
  }

  private get listFile(): string {
    return path.join(this.root, ".specweave/state/background-jobs.json");
  }

  get jobs(): ReadonlyMap<string, Job> {
    return this.known;
  }

  close(): void {
    this.isClosed = true;
    fs.unwatchFile(this.endpointFile);
    fs.unwatchFile(this.listFile);
    clearTimeout(this.retry);
    clearTimeout(this.linger);
    this.watching?.abort();
  }

  /** The daemon for something that changes something: started if none runs. */
  async started(): Promise<JobsClient> {
    await this.run(["endpoint", "--start"]);
    const client = await this.connect();
    if (!client) throw new Error("the daemon was started and has published no endpoint");
    if (!this.watching) this.comeBack();
    return client;
  }

  /** The daemon for a look; none where none runs. */
  running(): Promise<JobsClient | undefined> {
    return this.connect();
  }

  /** Runs the program in the project; gives what it prints. */
  run(words: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const options = { cwd: this.root, timeout: CALL_MS, maxBuffer: 64 * 1024 * 1024 };
      execFile(this.program(), words, options, (error, out, told) => {
        if (!error) return resolve(out);
        if ((error as NodeJS.ErrnoException).code === "ENOENT") this.listener.state("noProgram", error.message);
        const first = told.split("\n").find((line) => line.startsWith("error: "));
        reject(Object.assign(new Error(first?.slice("error: ".length) ?? error.message), { out }));
      });
    });
  }

  private async connect(): Promise<JobsClient | undefined> {
    try {
      const published = fs.readFileSync(this.endpointFile, "utf8");
      if (this.connection?.endpoint === published) return this.connection.client;
      const { endpoint } = JSON.parse(published) as { endpoint?: unknown };
      const socket = typeof endpoint === "string" && endpoint.startsWith("unix:/") ? endpoint.slice("unix:".length) : undefined;
      if (!socket || fs.statSync(socket).uid !== process.getuid?.()) return undefined;
      const { clientOf } = await import("./contract");
      if (this.connection?.endpoint !== published) this.connection = { endpoint: published, client: clientOf(socket, CALL_MS) };
      return this.connection.client;
    } catch {
      return undefined;
    }
  }

  private comeBack(): void {
    clearTimeout(this.retry);
    if (this.isClosed || this.watching) return;
    void this.connect().then((client) => {
      if (this.isClosed || this.watching) return;
      return client ? this.watch(client) : this.readFiles();
    });
  }

  private async watch(client: JobsClient): Promise<void> {
    const watching = new AbortController();
    this.watching = watching;
    let again = true;
    try {
      const info = await client.getInfo({});
      const here = fs.statSync(path.join(this.root, ".specweave"), { bigint: true });
      // The endpoint file may have come with a copy of another project.
      if (info.specweaveInode !== here.ino || info.specweaveDevice !== here.dev) throw new Error("it serves another project");
      for await (const { event } of client.watchJobs({ gapMs: 100 }, { signal: watching.signal, timeoutMs: 0 })) {
        this.tries = 0;
        this.listener.state("ready", "");
        if (event.case === "snapshot") {
          const gone = [...this.known.keys()].filter((id) => !event.value.jobs.some((job) => job.id === id));
          this.learn(event.value.jobs, gone);
        } else if (event.case === "changed") {
          this.learn(event.value.jobs, event.value.removedIds);
        }
        this.lingerUnlessBusy(watching);
      }
    } catch (error) {
      const { wantsRest } = await import("./contract");
      again = !watching.signal.aborted && !wantsRest(error);
      if (again && this.tries >= 3) this.listener.state("unreachable", error instanceof Error ? error.message : String(error));
    }
    if (this.watching === watching) this.watching = undefined;
    if (again && !this.isClosed) {
      this.retry = setTimeout(() => this.comeBack(), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
    } else if (!this.isClosed) {
      this.listener.state("resting", "");
    }
  }

  private lingerUnlessBusy(watching: AbortController): void {
    clearTimeout(this.linger);
    if (![...this.known.values()].some(isActive)) {
      this.linger = setTimeout(() => watching.abort(), LINGER_MS);
    }
  }

  /** Without a daemon, the documented files say what is known. */
  private async readFiles(): Promise<void> {
    try {
      const { jobs } = JSON.parse(await this.run(["list", "--all", "--json"])) as { jobs: unknown[] };
      const { fromDocument } = await import("./document");
      const read = jobs.map(fromDocument);
      const ids = new Set(read.map((job) => job.id));
      this.learn(read, [...this.known.keys()].filter((id) => !ids.has(id)));
      this.listener.state("resting", "");
    } catch {
      // A program that is not there has been told; anything else is tried when a file changes.
    }
  }

  private learn(jobs: Job[], removed: string[]): void {
    const isFirst = !this.hasLooked;
    this.hasLooked = true;
    this.listener.jobs(this.known, jobs, removed, isFirst);
    for (const id of removed) this.known.delete(id);
    for (const job of jobs) this.known.set(job.id, job);
  }
}
