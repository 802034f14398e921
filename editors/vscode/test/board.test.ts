// What is shown: labels, groups, what can be done, and that nothing of a remote's does harm.
import assert from "node:assert/strict";
import * as fs from "node:fs";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import * as board from "../src/board";
import { fromDocument } from "../src/document";
import { carried, hasGitHubToken, NAMES, NOT_FOR_GIT } from "../src/environment";
import {
  type Action,
  type Conflict,
  ConflictSchema,
  FailureReason,
  ItemSchema,
  ItemState,
  type Job,
  JobSchema,
  JobState,
  JobType,
  PauseReason,
} from "../gen/specweave/jobs/v1/jobs_pb";

type Init = Parameters<typeof create<typeof JobSchema>>[1];

function job(init: Init): Job {
  return create(JobSchema, { id: "ae362dfe", typeName: "clone-repos", title: "12 repositories of acme", ...init });
}

const now = 1_800_000_000_000;

test("jobs stand by state, those that want attention first, and the newest of each first", () => {
  const jobs = [
    job({ id: "1", state: JobState.COMPLETED }),
    job({ id: "2", state: JobState.RUNNING, startedAt: timestampFromMs(1) }),
    job({ id: "3", state: JobState.PENDING, startedAt: timestampFromMs(2) }),
    job({ id: "4", state: JobState.FAILED }),
  ];
  const shown = board.groups(jobs).map(({ label, jobs }) => [label, jobs.map(({ id }) => id).join("")]);
  assert.deepEqual(shown, [["Running", "32"], ["Failed", "4"], ["Completed", "1"]]);
});

test("a running job says how far it is and what is under way", () => {
  const progress = { current: 12n, total: 245n, percentage: 5, rate: 2.14, etaSeconds: 110n, active: [{ name: "web", receivedBytes: 5_242_880n }] };
  assert.equal(board.detail(job({ state: JobState.RUNNING, progress }), now), "12/245 (5%) · web 5 MB · 2.1/s · ~2 min left");
  assert.equal(board.detail(job({ state: JobState.RUNNING, progress: { phase: "discovering" } }), now), "discovering");
});

test("a pause counts down, and a schedule too", () => {
  const pause = { message: "Rate limited", resumeAt: timestampFromMs(now + 45_000) };
  assert.equal(board.detail(job({ state: JobState.PAUSED, pause }), now), "Rate limited · goes on in 45 s");
  const schedule = { nextAt: timestampFromMs(now + 7_500_000), everySeconds: 7_500n };
  assert.equal(board.detail(job({ state: JobState.SCHEDULED, schedule }), now), "again in 2 h 5 min");
});

test("what can be done with a job follows from its state", () => {
  const context = (state: JobState, more: Init = {}) => board.jobContext(job({ state, ...more }));
  assert.equal(context(JobState.RUNNING), "job:running:killable");
  assert.equal(context(JobState.PAUSED), "job:paused:resumable:removable");
  assert.equal(context(JobState.PAUSED, { pause: { resumeAt: timestampFromMs(now) } }), "job:paused:killable:resumable");
  assert.equal(context(JobState.SCHEDULED), "job:scheduled:killable:resumable");
  assert.equal(context(JobState.COMPLETED), "job:completed:removable");
  assert.equal(context(JobState.COMPLETED, { foreign: true }), "job:completed");
});

test("an item that failed can be tried again, one that stands opens", () => {
  const failed = create(ItemSchema, { name: "web", state: ItemState.FAILED, failure: { message: "not found" }, target: "repositories/acme/web", url: "https://github.com/acme/web" });
  const clone = job({ state: JobState.COMPLETED_WITH_WARNINGS, type: JobType.CLONE_REPOS });
  assert.deepEqual([board.itemContext(failed, clone), board.itemDetail(failed), board.itemIcon(failed)], ["item:failed:retry:url", "not found", "error"]);
  const done = create(ItemSchema, { name: "api", state: ItemState.SKIPPED, target: "repositories/acme/api", url: "git@x:y" });
  assert.deepEqual([board.itemContext(done, clone), board.itemDetail(done)], ["item:skipped:folder", "was there already"]);
});

test("an item is tried again only where that does something, and a story is no folder", () => {
  const failed = create(ItemSchema, { state: ItemState.FAILED, target: "specs/us-001.md" });
  const context = (type: JobType, more: Init = {}) => board.itemContext(failed, job({ state: JobState.FAILED, type, ...more }));
  assert.equal(context(JobType.SYNC_EXTERNAL), "item:failed:retry:story");
  assert.equal(context(JobType.IMPORT_ISSUES), "item:failed:story", "an import does not know its items by name");
  assert.equal(context(JobType.CLONE_REPOS, { state: JobState.RUNNING }), "item:failed", "it is running");
  assert.equal(context(JobType.CLONE_REPOS, { state: JobState.SCHEDULED, schedule: {} }), "item:failed", "next time it tries all");
});

test("what only a later daemon has words for is shown as unknown", () => {
  const later = job({ state: 99 as JobState });
  assert.deepEqual(board.groups([later]).map(({ label, jobs }) => [label, jobs.length]), [["Unknown", 1]]);
  assert.equal(board.jobContext(later), "job:unknown:removable");
  assert.equal(board.itemDetail(create(ItemSchema, { action: 99 as Action })), "unknown");
});

test("control characters, marks that turn writing, and markup of a remote's do no harm", () => {
  const evil = "a\u202eb\u0007c\u001b[31m";
  assert.equal(board.plain(evil), "a·b·c·[31m");
  const shown = board.tooltip(job({ title: "**bold** [x](command:evil) <img>", state: JobState.FAILED, failure: { message: evil } }), now);
  assert.ok(!shown.includes("[x](command") && !shown.includes("<img>") && !shown.includes("\u202e"), shown);
  const told = board.notice(undefined, job({ state: JobState.FAILED, failure: { message: "[Look](command:evil)" } }), "problems", now);
  // As the editor looks for links in a notification.
  assert.ok(!/\[([^\]]+)\]\(((?:https?:\/\/|command:|file:)[^)\s]+)/.test(told!.text), told!.text);
  assert.ok(!board.statusBar([job({ state: JobState.RUNNING, title: "$(alert) x" })])!.includes("$(alert)"));
});

test("a change of state is told once, with the one action that helps", () => {
  const before = job({ state: JobState.RUNNING });
  const told = (init: Init, wanted: "all" | "problems" | "none" = "problems") => board.notice(before, job(init), wanted, now);
  const token = { state: JobState.FAILED, failure: { message: "token expired", reason: FailureReason.AUTHENTICATION } };
  assert.deepEqual([told(token)?.level, told(token)?.label], ["error", "Try Again"]);
  const conflict = { state: JobState.COMPLETED_WITH_WARNINGS, warning: "1 in conflict", progress: { inConflict: 1n } };
  assert.equal(told(conflict)?.action, "conflicts");
  const paused = (reason: PauseReason, resumeAt?: number) => ({ state: JobState.PAUSED, pause: { reason, message: "x", ...(resumeAt ? { resumeAt: timestampFromMs(resumeAt) } : {}) } });
  assert.equal(told(paused(PauseReason.KILLED)), undefined, "somebody did it");
  assert.equal(told(paused(PauseReason.RATE_LIMITED, now)), undefined, "it goes on by itself");
  assert.match(told(paused(PauseReason.RATE_LIMITED, now + 10_800_000))?.text ?? "", /goes on in 3 h 0 min/, "for long");
  assert.equal(told(paused(PauseReason.CREDENTIALS))?.label, "Go On");
  const limited = job(paused(PauseReason.RATE_LIMITED, now));
  assert.equal(board.notice(limited, job(paused(PauseReason.CREDENTIALS)), "problems", now)?.label, "Go On", "it waits for something else");
  const killed = job(paused(PauseReason.KILLED));
  assert.equal(board.notice(killed, job(paused(PauseReason.UNSPECIFIED)), "problems", now), undefined, "the files do not tell why");
  assert.equal(board.notice(job(paused(PauseReason.UNSPECIFIED)), job(paused(PauseReason.CREDENTIALS)), "problems", now), undefined);
  const failed = (at: number) => job({ ...token, completedAt: timestampFromMs(at) });
  assert.equal(board.notice(failed(1), failed(2), "problems", now)?.level, "error", "it was tried and failed between two looks");
  assert.equal(board.notice(failed(1), failed(1), "problems", now), undefined);
  assert.equal(told({ state: JobState.COMPLETED }), undefined);
  assert.equal(told({ state: JobState.COMPLETED }, "all")?.level, "info");
  assert.equal(told({ state: JobState.RUNNING }, "all"), undefined, "nothing has changed");
  assert.equal(told(token, "none"), undefined);
  assert.equal(board.notice(undefined, job(token), "all", now)?.level, "error", "it was over before anybody saw it begin");
});

test("the status bar says what runs, and nothing where nothing does", () => {
  assert.equal(board.statusBar([]), undefined);
  assert.equal(board.statusBar([job({ state: JobState.COMPLETED })]), undefined);
  const progress = { current: 1n, total: 4n };
  assert.equal(board.statusBar([job({ state: JobState.RUNNING, progress })]), "$(sync~spin) 12 repositories of acme 25%");
  assert.equal(board.statusBar([job({ state: JobState.RUNNING, progress }), job({ state: JobState.RUNNING, progress })]), "$(sync~spin) 2 jobs 25%");
  assert.equal(board.statusBar([job({ state: JobState.PAUSED })]), "$(debug-pause) 1 paused");
});

const conflict: Conflict = create(ConflictSchema, {
  story: "web/FS-001/US-001",
  fields: [
    { name: "title", base: "Password login", local: "Log in", remote: "Sign in" },
    { name: "description", local: "Mine\n\n## Notes\n", remote: "Theirs" },
  ],
});

test("the sides of a conflict become documents, and what was merged becomes fields again", () => {
  assert.equal(board.sideText(conflict, "base"), "## title\n\nPassword login\n\n## description\n\n\n");
  const fields = board.fieldsOf(board.sideText(conflict, "local"), conflict);
  assert.deepEqual([...fields], [["title", "Log in"], ["description", "Mine\n\n## Notes"]]);
});

test("what nobody has merged is told from what was", () => {
  const merged = (title: string) => board.unmerged(board.fieldsOf(`## title\n\n${title}\n\n## description\n\nMine\n`, conflict), conflict);
  assert.deepEqual(merged("Log in"), []);
  assert.deepEqual(merged("Come in"), []);
  assert.deepEqual(merged("Password login"), ["title"]);
});

test("a merged text goes into the conflict's file, and nowhere else in it", () => {
  const file =
    "# Conflict\n\n## title\n\n<!-- field title 2d9c1f60 -->\n<<<<<<< here\nLog in\n=======\nSign in\n>>>>>>> in the tracker\n<!-- end of title 2d9c1f60 -->\n\nend\n";
  const text = board.decided(file, new Map([["title", "Log in $1 here"]]));
  assert.equal(text, "# Conflict\n\n## title\n\n<!-- field title 2d9c1f60 -->\nLog in $1 here\n<!-- end of title 2d9c1f60 -->\n\nend\n");
  assert.equal(board.decided(file, new Map([["labels", "x"]])), undefined);
});

test("a job of the command line's JSON is the same job", () => {
  const read = fromDocument({
    id: "ae362dfe", type_name: "sync-external", state: "completed_with_warnings", warning: "1 in conflict", foreign: false,
    progress: { current: 3, total: 4, percentage: 75, failed_items: ["web"] }, started_at: "2026-11-29T11:37:10.678Z",
    pause: null, failure: null, schedule: { every_seconds: 60, last_state: "failed", next_at: null },
  });
  assert.deepEqual([read.state, read.progress?.current, read.schedule?.lastState, read.progress?.failedItems], [JobState.COMPLETED_WITH_WARNINGS, 3n, JobState.FAILED, ["web"]]);
  assert.equal(fromDocument(null).state, JobState.UNSPECIFIED);
  assert.equal(fromDocument({ state: "from a later release", started_at: "no date" }).startedAt, undefined);
});

test("only variables that are needed travel", () => {
  const names = (environment: NodeJS.ProcessEnv) => carried(environment).map(({ name, value }) => `${name}=${value}`);
  const all = { GITHUB_TOKEN: "a", SECRET_OF_MINE: "b", https_proxy: "c", GIT_SSH_COMMAND: "ssh -v", GIT_DIR: "/x", GIT_TRACE2: "/y" };
  assert.deepEqual(names(all), ["HTTPS_PROXY=c", "GITHUB_TOKEN=a", "GIT_SSH_COMMAND=ssh -v"]);
  assert.deepEqual([hasGitHubToken(carried(all)), hasGitHubToken(carried({}))], [true, false]);
});

test("the variables are those of the command line", () => {
  const source = fs.readFileSync("../../proto/environment.rs", "utf8");
  const list = (name: string) => [...new RegExp(`const ${name}: \\[&str; \\d+\\] = \\[([^\\]]*)\\]`).exec(source)![1]!.matchAll(/"([^"]+)"/g)].map(([, one]) => one!);
  const wanted = [...list("SETTINGS"), ...list("SECRETS"), ...list("HELPERS")];
  // All of git's travel.
  assert.deepEqual([...NAMES].sort(), wanted.filter((name) => !name.startsWith("GIT_")).sort());
  assert.deepEqual(NOT_FOR_GIT, list("NOT_FOR_GIT"));
});
