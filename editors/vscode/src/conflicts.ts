// The Conflicts view, and the editor's own merge on what stood there before, the story and the tracker.
import { createHash } from "node:crypto";
import * as fs from "node:fs/promises";
import * as path from "node:path";
import * as vscode from "vscode";
import { conflictLabel, decided, fieldsOf, sideText, unmerged } from "./board";
import type { JobsClient } from "./contract";
import type { Project } from "./project";
import { type Conflict, OnConflict } from "../gen/specweave/jobs/v1/jobs_pb";

export interface ConflictNode {
  project: Project;
  conflict: Conflict;
}

const SCHEME = "specweave-conflict";
const SIDES = ["base", "local", "remote"] as const;

export class ConflictsTree implements vscode.TreeDataProvider<ConflictNode>, vscode.TextDocumentContentProvider {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private nodes: ConflictNode[] = [];
  private readonly sides = new Map<string, string>();
  /** Where what is merged of a conflict is left, by its project and story. */
  private readonly outputs = new Map<string, string>();
  private refreshes = 0;

  constructor(
    private readonly projects: () => Project[],
    /** A folder of this workspace's alone, outside of it. */
    private readonly storage: string,
  ) {}

  register(): vscode.Disposable {
    return vscode.Disposable.from(
      vscode.workspace.registerTextDocumentContentProvider(SCHEME, this),
      vscode.workspace.onDidCloseTextDocument(({ uri }) => this.sides.delete(uri.toString())),
    );
  }

  /** Asks again; a daemon that does not run is not started for it. */
  async refresh(): Promise<void> {
    const refresh = ++this.refreshes;
    const found = await Promise.all(
      this.projects().map(async (project) => {
        const client = await project.daemon.running();
        if (!client) return this.nodes.filter((node) => node.project === project);
        try {
          const { conflicts } = await client.listConflicts({});
          return conflicts.map((conflict) => ({ project, conflict }));
        } catch {
          return this.nodes.filter((node) => node.project === project);
        }
      }),
    );
    if (refresh !== this.refreshes) return;
    this.nodes = found.flat();
    void vscode.commands.executeCommand("setContext", "specweaveJobs.hasConflicts", this.nodes.length > 0);
    this.changed.fire(undefined);
  }

  getChildren(node?: ConflictNode): ConflictNode[] {
    return node ? [] : this.nodes;
  }

  getTreeItem(node: ConflictNode): vscode.TreeItem {
    const { label, description } = conflictLabel(node.conflict);
    const item = new vscode.TreeItem(label);
    item.description = description;
    item.iconPath = new vscode.ThemeIcon("git-merge");
    // Only a story that was written here has a file in which a person may write what is to stand.
    item.contextValue = node.conflict.key ? "conflict:file" : "conflict";
    item.command = { command: "specweaveJobs.openConflict", title: "Look at Both Sides", arguments: [node] };
    return item;
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.sides.get(uri.toString()) ?? "";
  }

  private side(conflict: Conflict, name: string, text: string): vscode.Uri {
    const uri = vscode.Uri.from({ scheme: SCHEME, path: `/${conflict.story}/${name}.md`, query: String(Date.now()) });
    this.sides.set(uri.toString(), text);
    return uri;
  }

  async open(node: ConflictNode): Promise<void> {
    const client = await node.project.daemon.running();
    if (!client) return this.openFile(node);
    const { conflict } = await client.getConflict({ story: node.conflict.story });
    if (!conflict) return;
    const [base, local, remote] = SIDES.map((name) =>
      this.side(conflict, name, sideText(conflict, name)),
    ) as [vscode.Uri, vscode.Uri, vscode.Uri];
    if (!conflict.key) {
      await vscode.commands.executeCommand("vscode.diff", local, remote, `${conflict.story}: here and in the tracker`);
      return;
    }
    const output = this.output(node.project, conflict);
    await fs.mkdir(path.dirname(output), { recursive: true, mode: 0o700 });
    // As it stood before either side changed it: what is to stand is still to be chosen. What was merged already stays.
    await fs.writeFile(output, sideText(conflict, "base"), { flag: "wx" }).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
    await vscode.commands.executeCommand("_open.mergeEditor", {
      base,
      input1: { uri: local, title: "The Story", description: conflict.path },
      input2: { uri: remote, title: "The Tracker", description: conflict.item },
      output: vscode.Uri.file(output),
    });
  }

  /** A look starts no daemon: the file beside the story shows both sides, too. */
  private async openFile({ project, conflict }: ConflictNode): Promise<void> {
    if (!conflict.file) throw new Error("the daemon does not run, and this conflict has no file: start the daemon to see both sides");
    await vscode.window.showTextDocument(vscode.Uri.file(path.join(project.root, conflict.file)));
  }

  /** Where the merged text of this very conflict is left: another conflict over the same story has another place. */
  private output(project: Project, conflict: Conflict): string {
    const sides = SIDES.map((name) => sideText(conflict, name));
    const hash = createHash("sha256").update(JSON.stringify([project.root, conflict.story, ...sides])).digest("hex");
    const output = path.join(this.storage, "merged", hash.slice(0, 16), `${conflict.story.replace(/[^\w-]+/g, "-")}.md`);
    this.outputs.set(`${project.root}:${conflict.story}`, output);
    return output;
  }

  /** Carries out a decision; the text that was merged goes into the conflict's file first. */
  async decide(node: ConflictNode, use: OnConflict): Promise<void> {
    const client = await node.project.daemon.started();
    if (use === OnConflict.FILE && !(await this.takeMerged(node, client))) return;
    await client.resolveConflict({ story: node.conflict.story, use, environment: await node.project.environment() });
    const output = this.outputs.get(`${node.project.root}:${node.conflict.story}`);
    if (output) await fs.rm(path.dirname(output), { recursive: true, force: true });
  }

  /** False where somebody does not want it after all. */
  private async takeMerged({ project, conflict: { story } }: ConflictNode, client: JobsClient): Promise<boolean> {
    const { conflict } = await client.getConflict({ story });
    if (!conflict) return true;
    const output = this.output(project, conflict);
    await vscode.workspace.textDocuments.find(({ uri }) => uri.fsPath === output)?.save();
    const merged = await fs.readFile(output, "utf8").catch(() => undefined);
    // Nothing was merged: what a person left in the conflict's file itself counts.
    if (merged === undefined || merged === sideText(conflict, "base")) return true;
    if (/^(<<<<<<<|>>>>>>>)/m.test(merged)) throw new Error("the merged text still has the marks of a conflict");
    const fields = fieldsOf(merged, conflict);
    const asBefore = unmerged(fields, conflict);
    if (asBefore.length > 0) {
      const asked = `The merged text has neither side's ${asBefore.join(" and ")}, but what stood there before.`;
      const taken = "Take It";
      if ((await vscode.window.showWarningMessage(asked, { modal: true }, taken)) !== taken) return false;
    }
    const file = path.join(project.root, conflict.file);
    const text = decided(await fs.readFile(file, "utf8"), fields);
    if (text === undefined) throw new Error(`${conflict.file} has changed meanwhile: open the conflict again`);
    await fs.writeFile(file, text);
    return true;
  }
}
