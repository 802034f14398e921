// One folder of the workspace that is a project: its daemon, and what travels with a job that is started from here.
import * as fs from "node:fs";
import * as path from "node:path";
import * as vscode from "vscode";
import { Daemon, type Listener, type Surroundings } from "./daemon";
import { carried, hasGitHubToken, type Variable } from "./environment";

/** Whether somebody has said no to lending the editor's session, in this window. */
let isRefused = false;

export class Project {
  readonly daemon: Daemon;

  constructor(
    readonly root: string,
    surroundings: Surroundings,
    listener: Listener,
  ) {
    this.daemon = new Daemon(root, surroundings, listener);
  }

  /** The variables of this editor's environment, and its GitHub session where the user allows that. */
  async environment(): Promise<Variable[]> {
    const own = carried(process.env);
    const may = vscode.workspace.getConfiguration("specweaveJobs").get<boolean>("useGitHubSession", false);
    if (!may || isRefused || hasGitHubToken(own)) return own;
    try {
      const { accessToken } = await vscode.authentication.getSession("github", ["repo"], { createIfNone: true });
      return [...own, { name: "GITHUB_TOKEN", value: accessToken }];
    } catch (error) {
      // What a job needs may stand in `.env`, or need no token at all.
      isRefused = /consent|cancel/i.test(String(error));
      return own;
    }
  }
}

/** The project that a folder lies in, if any. */
export function rootOf(folder: string): string | undefined {
  for (let at = folder; ; at = path.dirname(at)) {
    if (fs.existsSync(path.join(at, ".specweave"))) return at;
    if (at === path.dirname(at)) return undefined;
  }
}
