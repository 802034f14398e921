// What is shown of jobs, items and conflicts: labels, groups, tooltips, and what can be done. Pure: no editor, no clock of its
// own, no I/O, so that it is tested without any.
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import {
  type ActiveItem,
  Action,
  type Conflict,
  FailureReason,
  type Item,
  ItemState,
  type Job,
  JobState,
  JobType,
  PauseReason,
} from "../gen/specweave/jobs/v1/jobs_pb";

export interface Group {
  label: string;
  states: JobState[];
  jobs: Job[];
}

const GROUPS: [string, JobState[]][] = [
  ["Running", [JobState.RUNNING, JobState.PENDING]],
  ["Paused", [JobState.PAUSED]],
  ["Scheduled", [JobState.SCHEDULED]],
  ["Failed", [JobState.FAILED]],
  ["With Warnings", [JobState.COMPLETED_WITH_WARNINGS]],
  ["Completed", [JobState.COMPLETED]],
];

/** Jobs by state, those that want attention first; empty groups are left out. */
export function groups(jobs: Iterable<Job>): Group[] {
  const all = [...jobs].sort((one, other) => started(other) - started(one) || one.id.localeCompare(other.id));
  const isKnown = (job: Job) => GROUPS.some(([, states]) => states.includes(job.state));
  const named = GROUPS.map(([label, states]) => ({ label, states, jobs: all.filter((job) => states.includes(job.state)) }));
  return [...named, { label: "Unknown", states: [], jobs: all.filter((job) => !isKnown(job)) }].filter((group) => group.jobs.length > 0);
}

/** The contract only grows: a later daemon may say what this extension has no word for. */
export function word(names: Record<number, string>, value: number): string {
  return (names[value] ?? "unknown").toLowerCase();
}

function timestampMs(at: Timestamp): number {
  return Number(at.seconds) * 1000 + at.nanos / 1e6;
}

function started(job: Job): number {
  return job.startedAt ? timestampMs(job.startedAt) : 0;
}

/** Whether a job has something ahead of it without being asked. */
export function isActive(job: Job): boolean {
  return (
    [JobState.RUNNING, JobState.PENDING, JobState.SCHEDULED].includes(job.state) ||
    (job.state === JobState.PAUSED && job.pause?.resumeAt !== undefined)
  );
}

/** Names come from remotes: control characters and marks that turn the direction of writing do no harm. */
export function plain(text: string): string {
  // eslint-disable-next-line no-control-regex
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "\u00b7");
}

/** The same for a notification, in which the editor makes links of `[text](address)`, also such as run a command. */
export function forMessage(text: string): string {
  return plain(text).replaceAll("](", "]\u200b(");
}

export function title(job: Job): string {
  return plain(job.title || job.typeName);
}

/** `12/245 (5%) · web · 2.1/s`, or why the job does not run and until when. */
export function detail(job: Job, now: number): string {
  const progress = job.progress;
  const counts = progress && progress.total > 0n ? `${progress.current}/${progress.total} (${progress.percentage}%)` : "";
  switch (job.state) {
    case JobState.RUNNING: {
      if (!progress) return "";
      const active = progress.active[0];
      const at = active ? `${plain(active.name)}${bytes(active.receivedBytes)}${part(active)}` : plain(progress.currentItem);
      const rate = progress.rate > 0 ? `${progress.rate.toFixed(1)}/s` : "";
      const eta = progress.etaSeconds ? `~${span(Number(progress.etaSeconds))} left` : "";
      return join([counts || progress.phase || "starting", at, rate, eta]);
    }
    case JobState.PENDING:
      return "pending";
    case JobState.PAUSED:
      return join([counts, plain(job.pause?.message ?? ""), countdown(job.pause?.resumeAt, now)]);
    case JobState.SCHEDULED:
      return join([countdown(job.schedule?.nextAt, now, "again"), counts]);
    case JobState.FAILED:
      return plain(job.failure?.message ?? "");
    case JobState.COMPLETED_WITH_WARNINGS:
      return plain(job.warning);
    default:
      return counts;
  }
}

/** How much of it has come, as far as its remote tells. */
function part(item: ActiveItem): string {
  return item.totalObjects > 0n ? ` (${(item.receivedObjects * 100n) / item.totalObjects}%)` : "";
}

function bytes(count: bigint): string {
  if (count === 0n) return "";
  return count < 1_048_576n ? ` ${count / 1024n} kB` : ` ${count / 1_048_576n} MB`;
}

function countdown(at: Job["startedAt"], now: number, word = "goes on"): string {
  if (!at) return "";
  const left = Math.max(0, Math.round((timestampMs(at) - now) / 1000));
  return left === 0 ? `${word} now` : `${word} in ${span(left)}`;
}

/** `45 s`, `15 min`, `3 h 7 min`. */
export function span(seconds: number): string {
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
}

function join(parts: string[]): string {
  return parts.filter((part) => part !== "").join(" · ");
}

/** What the item's menu goes by: `job:running:killable`. */
export function jobContext(job: Job): string {
  const is = (...states: JobState[]) => states.includes(job.state);
  const can = [
    is(JobState.RUNNING, JobState.PENDING, JobState.SCHEDULED) || (is(JobState.PAUSED) && isActive(job)) ? "killable" : "",
    is(JobState.PAUSED, JobState.FAILED, JobState.COMPLETED_WITH_WARNINGS, JobState.SCHEDULED) ? "resumable" : "",
    !job.foreign && !isActive(job) ? "removable" : "",
  ];
  return ["job", word(JobState, job.state), ...can.filter((one) => one !== "")].join(":");
}

export function jobIcon(job: Job): string {
  switch (job.state) {
    case JobState.RUNNING:
    case JobState.PENDING:
      return "sync~spin";
    case JobState.PAUSED:
      return "debug-pause";
    case JobState.SCHEDULED:
      return "clock";
    case JobState.FAILED:
      return "error";
    case JobState.COMPLETED_WITH_WARNINGS:
      return "warning";
    case JobState.COMPLETED:
      return "pass";
    default:
      return "question";
  }
}

/** Markdown in which nothing of a remote's is taken for markup. */
export function escaped(text: string): string {
  return plain(text).replace(/[\\`*_{}[\]()#+\-.!|<>~]/g, "\\$&");
}

export function tooltip(job: Job, now: number): string {
  const line = (name: string, value: string) => (value ? `**${name}:** ${value}  \n` : "");
  const progress = job.progress;
  const at = (moment: Job["startedAt"]) => (moment ? new Date(timestampMs(moment)).toLocaleString() : "");
  return (
    `### ${escaped(title(job))}\n\n` +
    line("Id", `${escaped(job.id)} (${escaped(job.typeName)})`) +
    line("State", escaped(detail(job, now))) +
    line("Under way", (progress?.active ?? []).map((one) => escaped(one.name) + bytes(one.receivedBytes) + part(one)).join(", ")) +
    line("Failed", (progress?.failedItems ?? []).map(escaped).join(", ")) +
    line("Started", at(job.startedAt)) +
    line("Ended", at(job.completedAt)) +
    line("Written by", job.foreign ? "SpecWeave" : "")
  );
}

export function itemIcon(item: Item): string {
  switch (item.state) {
    case ItemState.FAILED:
      return "error";
    case ItemState.DONE:
      return "pass";
    case ItemState.SKIPPED:
      return "pass-filled";
    default:
      return "circle-outline";
  }
}

export function itemDetail(item: Item): string {
  if (item.failure) return plain(item.failure.message);
  if (item.action !== Action.UNSPECIFIED && item.action !== Action.CLONE) return word(Action, item.action);
  return item.state === ItemState.SKIPPED ? "was there already" : "";
}

/** `item:failed:retry:url`, `item:done:folder`, `item:done:story`. */
export function itemContext(item: Item, job: Job): string {
  const isDone = item.state === ItemState.DONE || item.state === ItemState.SKIPPED;
  const isClone = job.type === JobType.CLONE_REPOS;
  // Of an import's items only their places are known, and a job that is done again and again tries all of them.
  const knowsNames = (isClone || job.type === JobType.SYNC_EXTERNAL) && !job.schedule;
  const canRetry = knowsNames && [JobState.PAUSED, JobState.FAILED, JobState.COMPLETED_WITH_WARNINGS].includes(job.state);
  return [
    "item",
    word(ItemState, item.state),
    ...(item.state === ItemState.FAILED && canRetry ? ["retry"] : []),
    ...(item.target && (isDone || !isClone) ? [isClone ? "folder" : "story"] : []),
    ...(/^https?:/.test(item.url) ? ["url"] : []),
  ].join(":");
}

/** What stands in the status bar; nothing where no job is active. */
export function statusBar(jobs: Iterable<Job>): string | undefined {
  const all = [...jobs];
  const running = all.filter((job) => job.state === JobState.RUNNING || job.state === JobState.PENDING);
  const paused = all.filter((job) => job.state === JobState.PAUSED);
  if (running.length > 0) {
    const sum = (read: (job: Job) => bigint) => running.reduce((total, job) => total + read(job), 0n);
    const total = sum((job) => job.progress?.total ?? 0n);
    const percent = total > 0n ? ` ${(sum((job) => job.progress?.current ?? 0n) * 100n) / total}%` : "";
    // The editor draws a `$(name)` in it.
    return `$(sync~spin) ${running.length === 1 ? title(running[0]!).replaceAll("$(", "$\u200b(") : `${running.length} jobs`}${percent}`;
  }
  return paused.length > 0 ? `$(debug-pause) ${paused.length} paused` : undefined;
}

export interface Notice {
  level: "info" | "warning" | "error";
  text: string;
  /** The one action that helps. */
  action: "resume" | "conflicts" | "show" | undefined;
  label: string;
}

/** A pause of so long is told also where the job goes on by itself. */
const LONG_PAUSE_MS = 15 * 60_000;

/** Whether something has become of a job, beside its progress. The files do not tell why it is paused: nothing has changed by that. */
function isNews(before: Job | undefined, job: Job): boolean {
  const reasons = [before?.pause?.reason, job.pause?.reason].map((reason) => reason ?? PauseReason.UNSPECIFIED);
  const waitsForOther = !reasons.includes(PauseReason.UNSPECIFIED) && reasons[0] !== reasons[1];
  const at = (moment: Job["completedAt"]) => (moment ? timestampMs(moment) : 0);
  return (
    !before ||
    before.state !== job.state ||
    waitsForOther ||
    at(before.completedAt) !== at(job.completedAt) ||
    at(before.schedule?.lastAt) !== at(job.schedule?.lastAt)
  );
}

/** What is said of a job that has ended or paused, also when that was over before anybody saw it begin; nothing where nobody has to know. */
export function notice(before: Job | undefined, job: Job, wanted: "all" | "problems" | "none", now: number): Notice | undefined {
  if (wanted === "none" || job.foreign || !isNews(before, job)) return undefined;
  const name = title(job);
  const last = job.state === JobState.SCHEDULED ? (job.schedule?.lastState ?? JobState.UNSPECIFIED) : job.state;
  const told = (level: Notice["level"], text: string, action: Notice["action"], label: string): Notice => ({ level, text: forMessage(text), action, label });
  switch (last) {
    case JobState.FAILED:
      return told("error", `${name} failed: ${job.failure?.message ?? ""}`, "resume", "Try Again");
    case JobState.COMPLETED_WITH_WARNINGS: {
      const inConflict = (job.progress?.inConflict ?? 0n) > 0n;
      return told("warning", `${name}: ${job.warning}`, inConflict ? "conflicts" : "resume", inConflict ? "Decide" : "Try Again");
    }
    case JobState.PAUSED: {
      const reason = job.pause?.reason;
      if (reason === PauseReason.KILLED || reason === PauseReason.DAEMON_STOPPED) return undefined;
      const text = `${name} is paused: ${job.pause?.message ?? ""}`;
      if (!job.pause?.resumeAt) return told("warning", text, "resume", "Go On");
      const isLong = timestampMs(job.pause.resumeAt) - now >= LONG_PAUSE_MS;
      return isLong || wanted === "all" ? told("info", `${text} (${countdown(job.pause.resumeAt, now)})`, "show", "Show") : undefined;
    }
    case JobState.COMPLETED:
      return wanted === "all" ? told("info", `${name}: completed`, "show", "Show") : undefined;
    default:
      return undefined;
  }
}

export function conflictLabel(conflict: Conflict): { label: string; description: string } {
  const fields = conflict.fields.map((field) => field.name).join(", ");
  return { label: plain(conflict.story), description: join([plain(fields), plain(conflict.item)]) };
}

/** One side of a conflict as a document, field by field. */
export function sideText(conflict: Conflict, side: "base" | "local" | "remote"): string {
  return conflict.fields
    .map((field) => `## ${field.name}\n\n${(side === "base" ? (field.base ?? "") : field[side]).trimEnd()}\n`)
    .join("\n");
}

/** The fields of such a document, as somebody left it. */
export function fieldsOf(text: string, conflict: Conflict): Map<string, string> {
  const known = new Set(conflict.fields.map((field) => field.name));
  const fields = new Map<string, string>();
  let name: string | undefined;
  let lines: string[] = [];
  const close = () => {
    if (name !== undefined) fields.set(name, lines.join("\n").trim());
  };
  for (const line of text.split(/\r?\n/)) {
    const heading = /^## (\w+)$/.exec(line)?.[1];
    if (heading !== undefined && known.has(heading) && !fields.has(heading) && heading !== name) {
      close();
      name = heading;
      lines = [];
    } else {
      lines.push(line);
    }
  }
  close();
  return fields;
}

/** The fields that stand as before either side changed them: nobody has merged them, or somebody wants neither side. */
export function unmerged(fields: Map<string, string>, conflict: Conflict): string[] {
  const isOf = (text: string | undefined, value: string) => (text ?? "").trim() === value;
  return conflict.fields
    .filter(({ name, base, local, remote }) => {
      const value = fields.get(name);
      return value !== undefined && isOf(base, value) && !isOf(local, value) && !isOf(remote, value);
    })
    .map(({ name }) => name);
}

/** The conflict's file with these texts in the place of what both sides say. Undefined where it has no such part. */
export function decided(file: string, fields: Map<string, string>): string | undefined {
  let text = file;
  for (const [name, value] of fields) {
    const part = new RegExp(`(<!-- field ${name} (\\w+) -->\\n)[\\s\\S]*?(\\n<!-- end of ${name} \\2 -->)`);
    if (!part.test(text)) return undefined;
    text = text.replace(part, (_all, begin: string, _hash: string, end: string) => begin + value + end);
  }
  return text;
}
