// The Jobs view: jobs by state, and below each its items, fetched when it is opened, those that failed first.
import * as path from "node:path";
import * as vscode from "vscode";
import { detail, type Group, groups, itemContext, itemDetail, itemIcon, jobContext, jobIcon, plain, title, tooltip } from "./board";
import { type Item, ItemState, type Job, JobState } from "../gen/specweave/jobs/v1/jobs_pb";
import type { Project } from "./project";

export type Node =
  | { kind: "project"; project: Project }
  | { kind: "group"; project: Project; group: Group }
  | JobNode
  | { kind: "item"; project: Project; job: Job; item: Item }
  | { kind: "more"; text: string };

/** The same object until other jobs are shown, or in another order: by it the editor knows what to draw anew. */
interface JobNode {
  readonly kind: "job";
  readonly project: Project;
  job: Job;
}

/** The editor draws at once what it is told after 200 quiet milliseconds, and nothing while it is told more often. */
const GAP_MS = 250;

/** Items that are shown of one job; while it runs they are read again so often. */
const MOST_ITEMS = 500;
const ITEMS_GAP_MS = 1_000;

export class JobsTree implements vscode.TreeDataProvider<Node> {
  private readonly changed = new vscode.EventEmitter<Node[] | undefined>();
  readonly onDidChangeTreeData = this.changed.event;
  private readonly nodes = new Map<string, JobNode>();
  /** The items of jobs that were opened, as they were read of this job at that moment. */
  private readonly read = new Map<string, { of: Job; at: number; nodes: Node[] }>();
  /** Jobs whose items could not be read, or were not read again as they had been a moment ago. */
  private readonly unread = new Set<string>();
  private order = "";
  private drawn = 0;
  private pending: NodeJS.Timeout | undefined;
  private readonly ticking = setInterval(() => this.tick(), 1_000);

  constructor(private readonly projects: () => Project[]) {}

  dispose(): void {
    clearInterval(this.ticking);
    clearTimeout(this.pending);
    this.changed.dispose();
  }

  refresh(): void {
    this.pending ??= setTimeout(() => {
      this.pending = undefined;
      this.drawn = Date.now();
      const stale = this.stale();
      if (stale?.length !== 0) this.changed.fire(stale);
    }, Math.max(0, this.drawn + GAP_MS - Date.now()));
  }

  /** The jobs that have to be drawn anew; nothing for all, where others are shown than before, or in another order. */
  private stale(): Node[] | undefined {
    const projects = this.projects();
    const orders = projects.map((project) => [project.root, groups(project.daemon.jobs.values()).map(({ label, jobs }) => [label, jobs.map(({ id }) => id)])]);
    const order = JSON.stringify(orders);
    if (order !== this.order) {
      this.order = order;
      this.nodes.clear();
      this.unread.clear();
      const known = new Set(projects.flatMap((project) => [...project.daemon.jobs.values()].map((job) => key(project, job))));
      for (const one of this.read.keys()) if (!known.has(one)) this.read.delete(one);
      return undefined;
    }
    const isStale = (project: Project, job: Job) =>
      counts(job) || this.unread.has(key(project, job)) || this.nodes.get(key(project, job))?.job !== job;
    const stale = projects.flatMap((project) =>
      [...project.daemon.jobs.values()].filter((job) => isStale(project, job)).map((job) => this.node(project, job)),
    );
    this.unread.clear();
    return stale;
  }

  private node(project: Project, job: Job): JobNode {
    const known = this.nodes.get(key(project, job));
    const node = known ?? { kind: "job", project, job };
    node.job = job;
    this.nodes.set(key(project, job), node);
    return node;
  }

  /** What counts down is drawn anew, and what is still to be read. */
  private tick(): void {
    const isCounting = (project: Project) => [...project.daemon.jobs.values()].some(counts);
    if (this.unread.size > 0 || this.projects().some(isCounting)) this.refresh();
  }

  async getChildren(node?: Node): Promise<Node[]> {
    if (!node) {
      const projects = this.projects();
      if (projects.length === 1) return this.ofProject(projects[0]!);
      return projects.map((project) => ({ kind: "project", project }));
    }
    switch (node.kind) {
      case "project":
        return this.ofProject(node.project);
      case "group":
        // The group is as old as the order of all; its jobs have gone on since.
        return node.group.jobs.map((job) => this.node(node.project, node.project.daemon.jobs.get(job.id) ?? job));
      case "job":
        return this.items(node.project, node.job);
      default:
        return [];
    }
  }

  private ofProject(project: Project): Node[] {
    return groups(project.daemon.jobs.values()).map((group) => ({ kind: "group", project, group }));
  }

  private async items(project: Project, job: Job): Promise<Node[]> {
    const known = this.read.get(key(project, job));
    if (known?.of === job) return known.nodes;
    if (known && job.state === JobState.RUNNING && Date.now() - known.at < ITEMS_GAP_MS) {
      this.unread.add(key(project, job));
      return known.nodes;
    }
    const client = await project.daemon.running();
    if (!client || job.foreign) return [{ kind: "more", text: "Items are known while the daemon runs." }];
    try {
      const failed = await client.getJob({ id: job.id, itemPageSize: MOST_ITEMS, itemStates: [ItemState.FAILED] });
      const room = MOST_ITEMS - failed.items.length;
      const states = [ItemState.WAITING, ItemState.DONE, ItemState.SKIPPED];
      const others = room > 0 ? await client.getJob({ id: job.id, itemPageSize: room, itemStates: states }) : undefined;
      const nodes = [...failed.items, ...(others?.items ?? [])].map((item): Node => ({ kind: "item", project, job, item }));
      const isCut = failed.nextItemPageToken !== "" || (others?.nextItemPageToken ?? "") !== "" || room <= 0;
      if (isCut) nodes.push({ kind: "more", text: `More: specweave-jobs show ${job.id} --items` });
      this.read.set(key(project, job), { of: job, at: Date.now(), nodes });
      return nodes;
    } catch {
      this.unread.add(key(project, job));
      return [{ kind: "more", text: "The items could not be read." }];
    }
  }

  getTreeItem(node: Node): vscode.TreeItem {
    switch (node.kind) {
      case "project": {
        const item = new vscode.TreeItem(path.basename(node.project.root), vscode.TreeItemCollapsibleState.Expanded);
        item.id = node.project.root;
        return item;
      }
      case "group": {
        const isOpen = !["Completed"].includes(node.group.label);
        const state = isOpen ? vscode.TreeItemCollapsibleState.Expanded : vscode.TreeItemCollapsibleState.Collapsed;
        const item = new vscode.TreeItem(node.group.label, state);
        item.id = `${node.project.root}:${node.group.label}`;
        item.description = String(node.group.jobs.length);
        return item;
      }
      case "job": {
        const item = new vscode.TreeItem(title(node.job), vscode.TreeItemCollapsibleState.Collapsed);
        item.id = key(node.project, node.job);
        item.description = detail(node.job, Date.now());
        item.contextValue = jobContext(node.job);
        item.iconPath = new vscode.ThemeIcon(jobIcon(node.job));
        return item;
      }
      case "item": {
        const item = new vscode.TreeItem(plain(node.item.name));
        item.description = itemDetail(node.item);
        item.contextValue = itemContext(node.item, node.job);
        item.iconPath = new vscode.ThemeIcon(itemIcon(node.item));
        return item;
      }
      case "more":
        return new vscode.TreeItem(node.text);
    }
  }

  resolveTreeItem(item: vscode.TreeItem, node: Node): vscode.TreeItem {
    if (node.kind === "job") item.tooltip = new vscode.MarkdownString(tooltip(node.job, Date.now()));
    if (node.kind === "item" && node.item.failure) item.tooltip = plain(node.item.failure.message);
    return item;
  }
}

const key = (project: Project, job: Job) => `${project.root}:${job.id}`;

/** Whether a moment in the future is shown of it. */
const counts = (job: Job) => job.pause?.resumeAt !== undefined || job.schedule?.nextAt !== undefined;
