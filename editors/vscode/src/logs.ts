// Logs of jobs as output channels that follow them: over a restart of the daemon, and again when a job that had ended goes on.
import * as vscode from "vscode";
import type { JobsClient } from "./contract";
import type { Project } from "./project";

interface Log {
  project: Project;
  id: string;
  channel: vscode.OutputChannel;
  /** Up to where it is shown; not known of what the files told. */
  offset: bigint | undefined;
  /** Set while it is followed. */
  following: AbortController | undefined;
  /** Whether the stream broke before the job's end. */
  isBroken: boolean;
}

/** Where a log is long, so many of its last lines are shown. */
const LINES = 10_000;

export class Logs {
  private readonly open_ = new Map<string, Log>();

  dispose(): void {
    for (const log of this.open_.values()) this.remove(log);
  }

  /** Those of a project that is no longer open. */
  close(root: string): void {
    for (const log of this.open_.values()) if (log.project.root === root) this.remove(log);
  }

  private remove(log: Log): void {
    log.following?.abort();
    log.channel.dispose();
    this.open_.delete(`${log.project.root}:${log.id}`);
  }

  async open(project: Project, id: string, title: string): Promise<void> {
    const key = `${project.root}:${id}`;
    const log = this.open_.get(key) ?? {
      project, id, channel: vscode.window.createOutputChannel(`Job ${id}: ${title}`, "log"), offset: undefined, following: undefined, isBroken: false,
    };
    this.open_.set(key, log);
    log.channel.show(true);
    if (log.following) return;
    const client = await project.daemon.running();
    if (client) return void this.follow(log, client);
    // A look starts no daemon: the files have the log, too.
    const text = await project.daemon.run(["logs", id, "--lines", String(LINES)]);
    if (log.following) return;
    log.channel.replace(text);
    log.offset = undefined;
  }

  /** A daemon is there again, or these jobs go on. */
  goOn(root: string, ids: string[]): void {
    for (const log of this.open_.values()) {
      const isDue = log.isBroken || ids.includes(log.id);
      if (log.project.root !== root || !isDue || log.following) continue;
      log.isBroken = false;
      void log.project.daemon.running().then((client) => {
        if (client) return this.follow(log, client);
        log.isBroken = true;
      });
    }
  }

  private async follow(log: Log, client: JobsClient): Promise<void> {
    if (log.following) return;
    const following = new AbortController();
    Object.assign(log, { following, isBroken: false });
    // A character may be split over two messages.
    const decoder = new TextDecoder("utf-8");
    const from = log.offset === undefined ? { lastLines: LINES } : { offset: log.offset };
    if (log.offset === undefined) log.channel.clear();
    try {
      for await (const { chunk, nextOffset } of client.tailLog({ id: log.id, follow: true, ...from }, { timeoutMs: 0, signal: following.signal })) {
        log.channel.append(decoder.decode(chunk, { stream: true }));
        log.offset = nextOffset;
      }
    } catch (error) {
      const { told, isNobody } = await import("./contract");
      log.isBroken = isNobody(error);
      if (!log.isBroken && !following.signal.aborted) log.channel.appendLine(`(the log could not be followed further: ${told(error).text})`);
    }
    log.following = undefined;
  }
}
