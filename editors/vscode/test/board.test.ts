// What is shown: labels, groups, what can be done, and that nothing of a remote's does harm.
import assert from "node:assert/strict";
import { test } from "node:test";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import * as board from "../src/board";
import { fromDocument } from "../src/document";
import { carried } from "../src/environment";
import {
  type Conflict,
  ConflictSchema,
  FailureReason,
  ItemSchema,
  ItemState,
  type Job,
  JobSchema,
  JobState,
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
  assert.deepEqual([board.itemContext(failed), board.itemDetail(failed), board.itemIcon(failed)], ["item:failed:url", "not found", "error"]);
  const done = create(ItemSchema, { name: "api", state: ItemState.SKIPPED, target: "repositories/acme/api", url: "git@x:y" });
  assert.deepEqual([board.itemContext(done), board.itemDetail(done)], ["item:skipped:folder", "was there already"]);
});

test("control characters, marks that turn writing, and markup of a remote's do no harm", () => {
  const evil = "a\u202eb\u0007c\u001b[31m";
  assert.equal(board.plain(evil), "a·b·c·[31m");
  const shown = board.tooltip(job({ title: "**bold** [x](command:evil) <img>", state: JobState.FAILED, failure: { message: evil } }), now);
  assert.ok(!shown.includes("[x](command") && !shown.includes("<img>") && !shown.includes("\u202e"), shown);
});

test("a change of state is told once, with the one action that helps", () => {
  const before = job({ state: JobState.RUNNING });
  const told = (init: Init, wanted: "all" | "problems" | "none" = "problems") => board.notice(before, job(init), wanted);
  const token = { state: JobState.FAILED, failure: { message: "token expired", reason: FailureReason.AUTHENTICATION } };
  assert.deepEqual([told(token)?.level, told(token)?.label], ["error", "Go On with a New Token"]);
  const conflict = { state: JobState.COMPLETED_WITH_WARNINGS, warning: "1 in conflict", progress: { inConflict: 1n } };
  assert.equal(told(conflict)?.action, "conflicts");
  const paused = (reason: PauseReason, resumeAt?: number) => ({ state: JobState.PAUSED, pause: { reason, message: "x", ...(resumeAt ? { resumeAt: timestampFromMs(resumeAt) } : {}) } });
  assert.equal(told(paused(PauseReason.KILLED)), undefined, "somebody did it");
  assert.equal(told(paused(PauseReason.RATE_LIMITED, now)), undefined, "it goes on by itself");
  assert.equal(told(paused(PauseReason.CREDENTIALS))?.label, "Go On");
  assert.equal(told({ state: JobState.COMPLETED }), undefined);
  assert.equal(told({ state: JobState.COMPLETED }, "all")?.level, "info");
  assert.equal(told({ state: JobState.RUNNING }, "all"), undefined, "nothing has changed");
  assert.equal(told(token, "none"), undefined);
  assert.equal(board.notice(undefined, job(token), "all")?.level, "error", "it was over before anybody saw it begin");
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

test("only variables that are needed travel, and the editor's token only where there is none", () => {
  const names = (environment: NodeJS.ProcessEnv, token?: string) => carried(environment, token).map(({ name, value }) => `${name}=${value}`);
  assert.deepEqual(names({ GITHUB_TOKEN: "a", SECRET_OF_MINE: "b", https_proxy: "c" }, "d"), ["HTTPS_PROXY=c", "GITHUB_TOKEN=a"]);
  assert.deepEqual(names({}, "d"), ["GITHUB_TOKEN=d"]);
});
