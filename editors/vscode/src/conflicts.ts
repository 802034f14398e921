// The Conflicts view, and the editor's own merge on what stood there before, the story and the tracker.
import * as fs from "node:fs/promises";
import * as os from "node:os";
import * as path from "node:path";
import * as vscode from "vscode";
import { conflictLabel, decided, fieldsOf, sideText } from "./board";
import type { Project } from "./project";
import { type Conflict, OnConflict } from "../gen/specweave/jobs/v1/jobs_pb";

export interface ConflictNode {
  project: Project;
  conflict: Conflict;
}

const SCHEME = "specweave-conflict";

export class ConflictsTree implements vscode.TreeDataProvider<ConflictNode>, vscode.TextDocumentContentProvider {
  private readonly changed = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private nodes: ConflictNode[] = [];
  private readonly sides = new Map<string, string>();

  constructor(private readonly projects: () => Project[]) {}

  register(): vscode.Disposable {
    return vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  }

  /** Asks again; a daemon that does not run is not started for it. */
  async refresh(): Promise<void> {
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
    const client = await node.project.daemon.started();
    const { conflict } = await client.getConflict({ story: node.conflict.story });
    if (!conflict) return;
    const [base, local, remote] = (["base", "local", "remote"] as const).map((name) =>
      this.side(conflict, name, sideText(conflict, name)),
    ) as [vscode.Uri, vscode.Uri, vscode.Uri];
    if (!conflict.key) {
      await vscode.commands.executeCommand("vscode.diff", local, remote, `${conflict.story}: here and in the tracker`);
      return;
    }
    const output = this.merged(node);
    await fs.mkdir(path.dirname(output), { recursive: true });
    // As it stood before either side changed it: what is to stand is still to be chosen.
    await fs.writeFile(output, sideText(conflict, "base"));
    await vscode.commands.executeCommand("_open.mergeEditor", {
      base,
      input1: { uri: local, title: "The Story", description: conflict.path },
      input2: { uri: remote, title: "The Tracker", description: conflict.item },
      output: vscode.Uri.file(output),
    });
  }

  /** Where the merged text is left; it is nobody's file but this window's. */
  private merged(node: ConflictNode): string {
    const name = node.conflict.story.replace(/[^\w-]+/g, "-");
    return path.join(os.tmpdir(), `specweave-jobs-${process.getuid?.() ?? 0}-${process.pid}`, `${name}.md`);
  }

  /** Carries out a decision; the text that was merged goes into the conflict's file first. */
  async decide(node: ConflictNode, use: OnConflict): Promise<void> {
    const client = await node.project.daemon.started();
    if (use === OnConflict.FILE) await this.takeMerged(node, client);
    await client.resolveConflict({ story: node.conflict.story, use, environment: await node.project.environment() });
  }

  private async takeMerged(node: ConflictNode, client: Awaited<ReturnType<Project["daemon"]["started"]>>): Promise<void> {
    const output = this.merged(node);
    const merged = await fs.readFile(output, "utf8").catch(() => undefined);
    // Nothing was merged in this window: what a person left in the conflict's file itself counts.
    if (merged === undefined) return;
    const { conflict } = await client.getConflict({ story: node.conflict.story });
    if (!conflict) return;
    if (/^(<<<<<<<|=======|>>>>>>>)/m.test(merged)) throw new Error("the merged text still has the marks of a conflict");
    const file = path.join(node.project.root, conflict.file);
    const text = decided(await fs.readFile(file, "utf8"), fieldsOf(merged, conflict));
    if (text === undefined) throw new Error(`${conflict.file} has changed meanwhile: open the conflict again`);
    await fs.writeFile(file, text);
    await fs.rm(output, { force: true });
  }
}
