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

export interface Surroundings {
  program(): string;
  /** Whether something may be started in this workspace. */
  isTrusted(): boolean;
}

/** After so long without an active job the stream is let go; one that says nothing for so long is taken up anew. */
const TIMES = { lingerMs: 20_000, silentMs: 60_000 };
const RETRY_MS = [100, 250, 500, 1_000, 2_000, 5_000];
const CALL_MS = 30_000;
/** A daemon says who it is at once. */
const WHO_MS = 5_000;

export class Daemon {
  private readonly known = new Map<string, Job>();
  /** The one connection, by the endpoint that it leads to; to no client where that is not this project's daemon. */
  private connection: { endpoint: string; client: Promise<JobsClient | undefined> } | undefined;
  private watching: AbortController | undefined;
  /** How often it was looked for a daemon: what an earlier look finds is no news. */
  private looks = 0;
  private tries = 0;
  private retry: NodeJS.Timeout | undefined;
  private linger: NodeJS.Timeout | undefined;
  private silence: NodeJS.Timeout | undefined;
  private hasLooked = false;
  private isClosed = false;

  constructor(
    readonly root: string,
    private readonly surroundings: Surroundings,
    private readonly listener: Listener,
    private readonly times = TIMES,
  ) {
    // A file that is replaced cannot be watched by its inode, and its folder need not exist yet: it is looked at.
    fs.watchFile(this.endpointFile, { interval: 500 }, (now, before) => {
      if (now.mtimeMs !== before.mtimeMs && now.size > 0) this.lookAgain();
    });
    fs.watchFile(this.listFile, { interval: 1_000 }, (now, before) => {
      if (now.mtimeMs !== before.mtimeMs) this.lookAgain();
    });
    this.lookAgain();
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
    this.watching?.abort();
  }

  /** Something may have changed: a daemon is looked for, and watched if it is there. */
  lookAgain(): void {
    void this.look();
  }

  /** The daemon for something that changes something: started if none runs. */
  async started(): Promise<JobsClient> {
    if (!this.surroundings.isTrusted()) throw new Error("this workspace is not trusted: nothing is started or changed in it");
    await this.run(["endpoint", "--start"]);
    const client = await this.connect();
    if (!client) throw new Error("the daemon was started and has published no endpoint");
    this.lookAgain();
    return client;
  }

  /** The daemon for a look; none where none runs, or none that answers. */
  async running(): Promise<JobsClient | undefined> {
    const { connection } = this;
    try {
      const client = await this.connect();
      // Of one that was found some time ago nothing has been heard since, unless it is watched.
      if (!this.watching && this.connection === connection) await client?.getInfo({}, { timeoutMs: WHO_MS });
      return client;
    } catch {
      this.forget(connection);
      return undefined;
    }
  }

  /** Runs the program in the project; gives what it prints. */
  run(words: string[]): Promise<string> {
    return new Promise((resolve, reject) => {
      const options = { cwd: this.root, timeout: CALL_MS, maxBuffer: 64 * 1024 * 1024 };
      // Of a folder that is gone Node says the same as of a program.
      if (!fs.existsSync(this.root)) return reject(new Error(`${this.root} is not there any more`));
      execFile(this.surroundings.program(), words, options, (error, out, told) => {
        if (!error) return resolve(out);
        const { code } = error as NodeJS.ErrnoException;
        if (code === "ENOENT" || code === "EACCES") this.listener.state("noProgram", error.message);
        const first = told.split("\n").find((line) => line.startsWith("error: "));
        reject(Object.assign(new Error(first?.slice("error: ".length) ?? error.message), { out }));
      });
    });
  }

  /** Undefined where no daemon runs; an error where one does not answer. */
  private async connect(): Promise<JobsClient | undefined> {
    const endpoint = await fs.promises.readFile(this.endpointFile, "utf8").catch(() => undefined);
    if (endpoint === undefined) return undefined;
    if (this.connection?.endpoint !== endpoint) this.connection = { endpoint, client: this.verified(endpoint) };
    const { connection } = this;
    try {
      return await connection.client;
    } catch (error) {
      this.forget(connection);
      const { isNobody } = await import("./contract");
      if (isNobody(error)) return undefined;
      throw error;
    }
  }

  private forget(connection: typeof this.connection): void {
    if (this.connection === connection) this.connection = undefined;
  }

  /** The client of the daemon that an endpoint leads to, if it is this project's: the file may have come with a copy of another. */
  private async verified(published: string): Promise<JobsClient | undefined> {
    const socket = socketOf(published);
    if (!socket) return undefined;
    const { clientOf } = await import("./contract");
    const client = clientOf(socket, CALL_MS);
    const info = await client.getInfo({}, { timeoutMs: WHO_MS });
    const here = fs.statSync(path.join(this.root, ".specweave"), { bigint: true });
    return info.specweaveInode === here.ino && info.specweaveDevice === here.dev ? client : undefined;
  }

  private async look(): Promise<void> {
    clearTimeout(this.retry);
    const look = ++this.looks;
    const isOver = () => this.isClosed || this.watching !== undefined || look !== this.looks;
    if (isOver()) return;
    try {
      const client = await this.connect();
      if (isOver()) return;
      if (client) return await this.watch(client);
      if (await this.readFiles(isOver)) {
        this.tries = 0;
        this.listener.state("resting", "");
      } else if (!isOver()) {
        this.tryLater();
      }
    } catch (error) {
      if (isOver()) return;
      this.listener.state("unreachable", error instanceof Error ? error.message : String(error));
      this.tryLater();
      await this.readFiles(isOver);
    }
  }

  private tryLater(): void {
    this.retry = setTimeout(() => this.lookAgain(), RETRY_MS[Math.min(this.tries++, RETRY_MS.length - 1)]);
  }

  private async watch(client: JobsClient): Promise<void> {
    const watching = new AbortController();
    const { connection } = this;
    this.watching = watching;
    let trouble = "";
    try {
      this.expectNews(watching);
      for await (const { event } of client.watchJobs({ gapMs: 100 }, { signal: watching.signal, timeoutMs: 0 })) {
        this.tries = 0;
        this.expectNews(watching);
        this.listener.state("ready", "");
        if (event.case === "snapshot") {
          const gone = [...this.known.keys()].filter((id) => !event.value.jobs.some((job) => job.id === id));
          this.learn(event.value.jobs, gone);
        } else if (event.case === "changed") {
          this.learn(event.value.jobs, event.value.removedIds);
        }
        this.lingerUnlessBusy(watching);
      }
      trouble = "the stream has ended";
    } catch (error) {
      const { wantsRest } = await import("./contract");
      const isOrdered = watching.signal.aborted ? watching.signal.reason !== SILENT : wantsRest(error);
      if (!isOrdered) trouble = error instanceof Error ? error.message : String(error);
    }
    clearTimeout(this.silence);
    clearTimeout(this.linger);
    this.linger = undefined;
    this.watching = undefined;
    if (this.isClosed) return;
    if (!trouble) return this.listener.state("resting", "");
    this.forget(connection);
    if (this.tries >= 3) this.listener.state("unreachable", trouble);
    this.tryLater();
  }

  /** A daemon that has nothing to tell says that. */
  private expectNews(watching: AbortController): void {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => watching.abort(SILENT), this.times.silentMs);
  }

  private lingerUnlessBusy(watching: AbortController): void {
    if ([...this.known.values()].some(isActive)) {
      clearTimeout(this.linger);
      this.linger = undefined;
    } else {
      this.linger ??= setTimeout(() => watching.abort(), this.times.lingerMs);
    }
  }

  /** Without a daemon, the documented files say what is known. Whether that was read, and was still wanted. */
  private async readFiles(isOver: () => boolean): Promise<boolean> {
    try {
      const { jobs } = JSON.parse(await this.run(["list", "--all", "--json"])) as { jobs: unknown[] };
      const { fromDocument } = await import("./document");
      if (isOver()) return false;
      const read = jobs.map(fromDocument);
      const ids = new Set(read.map((job) => job.id));
      this.learn(read, [...this.known.keys()].filter((id) => !ids.has(id)));
      return true;
    } catch {
      // A program that is not there has been told; anything else is tried when a file changes.
      return false;
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

/** Why a stream was let go that the daemon has forgotten. */
const SILENT = "silent";

/** The socket that an endpoint file names, if it is this user's. */
function socketOf(published: string): string | undefined {
  try {
    const { endpoint } = JSON.parse(published) as { endpoint?: unknown };
    const socket = typeof endpoint === "string" && endpoint.startsWith("unix:/") ? endpoint.slice("unix:".length) : undefined;
    return socket && fs.statSync(socket).uid === process.getuid?.() ? socket : undefined;
  } catch {
    return undefined;
  }
}
