// The extension's life: projects of the workspace, the two views, the status bar, notifications and commands.
import * as fs from "node:fs";
import * as path from "node:path";
import * as vscode from "vscode";
import { forMessage, isActive, notice, plain, statusBar, title } from "./board";
import { type ConflictNode, ConflictsTree } from "./conflicts";
import type { State } from "./daemon";
import { program } from "./program";
import { Project, rootOf } from "./project";
import { Logs } from "./logs";
import { clone, importItems, sync, update } from "./start";
import { JobsTree, type Node } from "./tree";
import { type Job, OnConflict } from "../gen/specweave/jobs/v1/jobs_pb";

type JobNode = Extract<Node, { kind: "job" }>;
type ItemNode = Extract<Node, { kind: "item" }>;

export function activate(context: vscode.ExtensionContext): void {
  new Extension(context);
}

class Extension {
  private projects: Project[] = [];
  private readonly states = new Map<string, State>();
  private readonly tree = new JobsTree(() => this.projects);
  private readonly conflicts: ConflictsTree;
  private readonly view = vscode.window.createTreeView("specweaveJobs.jobs", { treeDataProvider: this.tree });
  private readonly bar = vscode.window.createStatusBarItem("specweaveJobs", vscode.StatusBarAlignment.Left, 10);
  private readonly logs = new Logs();
  private folders: vscode.Disposable[] = [];

  constructor(private readonly context: vscode.ExtensionContext) {
    this.conflicts = new ConflictsTree(() => this.projects, (context.storageUri ?? context.globalStorageUri).fsPath);
    this.bar.name = "SpecWeave Jobs";
    this.bar.command = "specweaveJobs.show";
    context.subscriptions.push(
      this.tree,
      this.view,
      this.bar,
      this.conflicts.register(),
      vscode.window.registerTreeDataProvider("specweaveJobs.conflicts", this.conflicts),
      vscode.workspace.onDidChangeWorkspaceFolders(() => this.findProjects()),
      // Which program runs may depend on either.
      vscode.workspace.onDidGrantWorkspaceTrust(() => this.lookAgain()),
      vscode.workspace.onDidChangeConfiguration((change) => change.affectsConfiguration("specweaveJobs.program") && this.lookAgain()),
      { dispose: () => this.projects.forEach((project) => project.daemon.close()) },
      { dispose: () => this.folders.forEach((folder) => folder.dispose()) },
      this.logs,
    );
    this.registerCommands();
    this.findProjects();
  }

  private lookAgain(): void {
    this.projects.forEach((project) => project.daemon.lookAgain());
  }

  private findProjects(): void {
    const folders = vscode.workspace.workspaceFolders ?? [];
    this.folders.forEach((folder) => folder.dispose());
    this.folders = folders.map((folder) => {
      const watcher = vscode.workspace.createFileSystemWatcher(new vscode.RelativePattern(folder, ".specweave"), false, true, false);
      return vscode.Disposable.from(watcher, watcher.onDidCreate(() => this.findProjects()), watcher.onDidDelete(() => this.findProjects()));
    });
    const roots = new Set(folders.flatMap(({ uri }) => (uri.scheme === "file" ? (rootOf(uri.fsPath) ?? []) : [])));
    for (const { root, daemon } of this.projects.filter((project) => !roots.has(project.root))) {
      daemon.close();
      this.states.delete(root);
      this.logs.close(root);
    }
    const kept = this.projects.filter((project) => roots.has(project.root));
    const known = new Set(kept.map((project) => project.root));
    const added = [...roots].filter((root) => !known.has(root)).map((root) => this.project(root));
    this.projects = [...kept, ...added];
    this.showState();
    this.showBar();
    this.tree.refresh();
    void this.conflicts.refresh();
  }

  private project(root: string): Project {
    const surroundings = { program: () => program(this.context), isTrusted: () => vscode.workspace.isTrusted };
    return new Project(root, surroundings, {
      jobs: (before, changed, removed, isFirst) => {
        // What had ended before the first look is no news.
        if (!isFirst) changed.forEach((job) => this.tell(root, before.get(job.id), job));
        this.logs.goOn(root, changed.filter(isActive).map((job) => job.id));
        const hasEnded = changed.some((job) => !isActive(job)) || isFirst;
        // The map is brought up to date after this call.
        setImmediate(() => {
          this.tree.refresh();
          this.showBar();
          if (hasEnded || removed.length > 0) void this.conflicts.refresh();
        });
      },
      state: (state) => {
        if (state === "ready") this.logs.goOn(root, []);
        if (this.states.get(root) === state) return;
        this.states.set(root, state);
        this.showState();
      },
    });
  }

  private showState(): void {
    const states = this.projects.map((project) => this.states.get(project.root) ?? "resting");
    const shown = states.length === 0 ? "noProject" : (states.find((state) => state !== "ready" && state !== "resting") ?? states[0]);
    void vscode.commands.executeCommand("setContext", "specweaveJobs.state", shown);
  }

  private showBar(): void {
    const jobs = this.projects.flatMap((project) => [...project.daemon.jobs.values()]);
    const text = statusBar(jobs);
    const active = jobs.filter(isActive).length;
    this.view.badge = active > 0 ? { value: active, tooltip: active === 1 ? "1 active job" : `${active} active jobs` } : undefined;
    if (text === undefined) return this.bar.hide();
    this.bar.text = text;
    this.bar.show();
  }

  private tell(root: string, before: Job | undefined, job: Job): void {
    const wanted = vscode.workspace.getConfiguration("specweaveJobs").get<"all" | "problems" | "none">("notifications", "problems");
    const told = notice(before, job, wanted, Date.now());
    if (!told) return;
    const show =
      told.level === "error"
        ? vscode.window.showErrorMessage
        : told.level === "warning"
          ? vscode.window.showWarningMessage
          : vscode.window.showInformationMessage;
    void show(told.text, told.label).then((chosen) => {
      const project = this.projects.find((one) => one.root === root);
      if (!chosen || !project) return;
      if (told.action === "conflicts") void vscode.commands.executeCommand("specweaveJobs.conflicts.focus");
      else if (told.action === "resume") void this.guarded(() => this.resume(project, job.id, []));
      else void vscode.commands.executeCommand("specweaveJobs.jobs.focus");
    });
  }

  private registerCommands(): void {
    const add = (name: string, run: (...args: never[]) => Promise<unknown> | unknown) =>
      this.context.subscriptions.push(
        vscode.commands.registerCommand(`specweaveJobs.${name}`, (...args: unknown[]) =>
          this.guarded(async () => run(...(args as never[]))),
        ),
      );
    const onProject = (run: (project: Project) => Promise<unknown>) => async () => {
      const project = await this.chosen();
      if (project) await run(project);
    };
    add("clone", onProject(clone));
    add("update", onProject(update));
    add("import", onProject(importItems));
    add("sync", onProject(sync));
    add("startDaemon", onProject((project) => project.daemon.started()));
    add("stopDaemon", onProject((project) => project.daemon.run(["daemon", "stop"])));
    add("doctor", onProject((project) => this.doctor(project)));
    add("init", () => this.init());
    add("show", () => vscode.commands.executeCommand("specweaveJobs.jobs.focus"));
    add("openSettings", () => vscode.commands.executeCommand("workbench.action.openSettings", "specweaveJobs"));
    add("kill", async ({ project, job }: JobNode) => (await project.daemon.started()).killJob({ id: job.id }));
    add("resume", ({ project, job }: JobNode) => this.resume(project, job.id, []));
    add("retryItem", ({ project, job, item }: ItemNode) => this.resume(project, job.id, [item.name]));
    add("remove", async ({ project, job }: JobNode) => (await project.daemon.started()).removeJob({ id: job.id }));
    add("copyId", ({ job }: JobNode) => vscode.env.clipboard.writeText(job.id));
    add("openLog", ({ project, job }: JobNode) => this.logs.open(project, job.id, title(job)));
    add("openStory", ({ project, item }: ItemNode) => vscode.window.showTextDocument(vscode.Uri.file(inside(project, item.target))));
    add("openFolder", ({ project, item }: ItemNode) =>
      vscode.commands.executeCommand("vscode.openFolder", vscode.Uri.file(inside(project, item.target)), { forceNewWindow: true }));
    add("openUrl", ({ item }: ItemNode) => vscode.env.openExternal(vscode.Uri.parse(item.url, true)));
    add("openConflict", (node: ConflictNode) => this.conflicts.open(node));
    add("takeLocal", (node: ConflictNode) => this.conflicts.decide(node, OnConflict.LOCAL));
    add("takeRemote", (node: ConflictNode) => this.conflicts.decide(node, OnConflict.REMOTE));
    add("takeFile", (node: ConflictNode) => this.conflicts.decide(node, OnConflict.FILE));
  }

  /** Every command ends well, or says why not and what helps. */
  private async guarded(run: () => Promise<unknown>): Promise<void> {
    try {
      await run();
    } catch (error) {
      const { told } = await import("./contract");
      const { text, hint } = told(error);
      void vscode.window.showErrorMessage(forMessage(hint ? `${text} (${hint})` : text));
    }
  }

  private async chosen(): Promise<Project | undefined> {
    if (this.projects.length === 0) throw new Error("no folder of this workspace is a SpecWeave project");
    if (this.projects.length === 1) return this.projects[0];
    const picks = this.projects.map((project) => ({ label: path.basename(project.root), description: project.root, project }));
    return (await vscode.window.showQuickPick(picks, { title: "Which project?" }))?.project;
  }

  private async resume(project: Project, id: string, items: string[]): Promise<void> {
    const client = await project.daemon.started();
    const { notices } = await client.resumeJob({ id, items, environment: await project.environment() });
    notices.forEach((text) => void vscode.window.showWarningMessage(forMessage(text)));
  }

  private async doctor(project: Project): Promise<void> {
    // It ends with status 1 where something is wrong, and says what all the same.
    const out = await project.daemon.run(["doctor", "--json"]).catch((error: { out?: string }) => {
      if (!error.out) throw error;
      return error.out;
    });
    const { findings } = JSON.parse(out) as { findings: { check: string; verdict: string; detail: string; fix?: string }[] };
    const icons: Record<string, string> = { ok: "$(pass)", note: "$(info)", wrong: "$(error)" };
    const order = ["wrong", "note", "ok"];
    const picks = findings
      .sort((one, other) => order.indexOf(one.verdict) - order.indexOf(other.verdict))
      .map(({ check, verdict, detail, fix }) => ({ label: `${icons[verdict] ?? ""} ${check}`, description: plain(detail), detail: fix ? `Fix: ${fix}` : "" }));
    await vscode.window.showQuickPick(picks, { title: "What is wrong", matchOnDescription: true });
  }

  private async init(): Promise<void> {
    if (!vscode.workspace.isTrusted) throw new Error("this workspace is not trusted: nothing is started or changed in it");
    const local = (vscode.workspace.workspaceFolders ?? []).filter(({ uri }) => uri.scheme === "file");
    const folders = local.map(({ uri }) => uri.fsPath).filter((one) => !rootOf(one));
    const folder = folders.length > 1 ? await vscode.window.showQuickPick(folders, { title: "Which folder?" }) : folders[0];
    if (!folder && folders.length > 1) return;
    if (!folder) throw new Error("open a folder first that is no project yet");
    const { execFile } = await import("node:child_process");
    await new Promise<void>((resolve, reject) =>
      execFile(program(this.context), ["init"], { cwd: folder }, (error) => (error ? reject(error) : resolve())),
    );
    this.findProjects();
  }
}

/** What an item names in its project; a target that leads out of it is none. */
function inside(project: Project, target: string): string {
  const found = path.resolve(project.root, target);
  if (!found.startsWith(project.root + path.sep) || !fs.existsSync(found)) throw new Error(`${target} is not there`);
  return found;
}
