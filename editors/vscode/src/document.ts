// A job as `--json` prints it (field names of the contract, words for enums, moments as texts), as the contract's message.
import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { FailureReason, type Job, JobSchema, JobState, JobType, PauseReason } from "../gen/specweave/jobs/v1/jobs_pb";

type Document = Record<string, unknown>;

function word<T extends Record<string, string | number>>(words: T, value: unknown): number {
  const known = words[String(value ?? "").toUpperCase()];
  return typeof known === "number" ? known : 0;
}

function moment(value: unknown) {
  const date = typeof value === "string" ? new Date(value) : undefined;
  return date && !Number.isNaN(date.getTime()) ? timestampFromDate(date) : undefined;
}

const TYPES: Record<string, JobType> = {
  "clone-repos": JobType.CLONE_REPOS,
  "import-issues": JobType.IMPORT_ISSUES,
  "sync-external": JobType.SYNC_EXTERNAL,
};

export function fromDocument(value: unknown): Job {
  const job = (value ?? {}) as Document;
  const text = (from: Document | null | undefined, key: string) => String(from?.[key] ?? "");
  const count = (from: Document, key: string) => BigInt(Math.trunc(Number(from[key] ?? 0)) || 0);
  const progress = (job["progress"] ?? {}) as Document;
  const failure = job["failure"] as Document | null;
  const pause = job["pause"] as Document | null;
  const schedule = job["schedule"] as Document | null;
  return create(JobSchema, {
    id: text(job, "id"),
    type: TYPES[text(job, "type_name")] ?? JobType.UNSPECIFIED,
    typeName: text(job, "type_name"),
    state: word(JobState, job["state"]),
    title: text(job, "title"),
    warning: text(job, "warning"),
    foreign: job["foreign"] === true,
    startedAt: moment(job["started_at"]),
    completedAt: moment(job["completed_at"]),
    failure: failure ? { message: text(failure, "message"), reason: word(FailureReason, failure["reason"]) } : undefined,
    pause: pause
      ? { message: text(pause, "message"), reason: word(PauseReason, pause["reason"]), resumeAt: moment(pause["resume_at"]) }
      : undefined,
    schedule: schedule
      ? { nextAt: moment(schedule["next_at"]), everySeconds: count(schedule, "every_seconds"), lastState: word(JobState, schedule["last_state"]), lastAt: moment(schedule["last_at"]) }
      : undefined,
    progress: {
      current: count(progress, "current"),
      total: count(progress, "total"),
      percentage: Number(progress["percentage"] ?? 0),
      failed: count(progress, "failed"),
      inConflict: count(progress, "in_conflict"),
      failedItems: Array.isArray(progress["failed_items"]) ? progress["failed_items"].map(String) : [],
    },
  });
}
