// One folder of the workspace that is a project: its daemon, and what travels with a job that is started from here.
import * as fs from "node:fs";
import * as path from "node:path";
import * as vscode from "vscode";
import { Daemon, type Listener } from "./daemon";
import { carried, type Variable } from "./environment";

export class Project {
  readonly daemon: Daemon;

  constructor(
    readonly root: string,
    program: () => string,
    listener: Listener,
  ) {
    this.daemon = new Daemon(root, program, listener);
  }

  /** The variables of this editor's environment, and its GitHub session where the user allows that. */
  async environment(): Promise<Variable[]> {
    const may = vscode.workspace.getConfiguration("specweaveJobs").get<boolean>("useGitHubSession", false);
    const session = may ? await vscode.authentication.getSession("github", ["repo"], { createIfNone: true }) : undefined;
    return carried(process.env, session?.accessToken);
  }
}

/** The project that a folder lies in, if any. */
export function rootOf(folder: string): string | undefined {
  for (let at = folder; ; at = path.dirname(at)) {
    if (fs.existsSync(path.join(at, ".specweave"))) return at;
    if (at === path.dirname(at)) return undefined;
  }
}
