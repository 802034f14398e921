// Starting a job from the palette: what to work on, a preview to confirm, and the start.
import { randomUUID } from "node:crypto";
import * as vscode from "vscode";
import { forMessage, plain, word } from "./board";
import type { Project } from "./project";
import { Action, Tracker } from "../gen/specweave/jobs/v1/jobs_pb";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { JobSpecSchema } from "../gen/specweave/jobs/v1/jobs_pb";

type Spec = MessageInitShape<typeof JobSpecSchema>;
type Work = NonNullable<Spec["work"]>;

const TRACKERS: Record<number, string> = { [Tracker.GITHUB]: "GitHub", [Tracker.JIRA]: "JIRA", [Tracker.ADO]: "Azure DevOps" };

export async function clone(project: Project): Promise<void> {
  const wanted = await vscode.window.showInputBox({
    title: "Clone repositories",
    prompt: "owner/repo, owner/glob*, addresses or paths, with blanks between them; or org:NAME for all of a GitHub organisation",
    placeHolder: "acme/web acme/api-*",
    ignoreFocusOut: true,
  });
  const words = wanted?.split(/\s+/).filter((word) => word !== "") ?? [];
  if (words.length === 0) return;
  const [org = "", ...others] = words.flatMap((word) => (word.startsWith("org:") ? [word.slice("org:".length)] : []));
  if (others.length > 0) throw new Error("a job lists one organisation: start another one for the next");
  const sources = words.filter((word) => !word.startsWith("org:"));
  await confirmed(project, { case: "clone", value: { sources, githubOrg: org } });
}

/** What stands below `repositories/` is brought up to date, and nothing that a person has changed is touched. */
export async function update(project: Project): Promise<void> {
  await confirmed(project, { case: "clone", value: { update: true } });
}

export async function importItems(project: Project): Promise<void> {
  const { sources } = await (await project.daemon.started()).listSources({ environment: await project.environment() });
  const picks = [
    { label: "Everything that is known", description: "since the last import", source: undefined },
    ...sources.map((source) => ({ label: source.name, description: TRACKERS[source.tracker] ?? "", source })),
    { label: "A repository of GitHub…", description: "", source: "repository" as const },
  ].filter((pick) => pick.source !== undefined || sources.length > 0);
  const pick = picks.length === 1 ? picks[0] : await vscode.window.showQuickPick(picks, { title: "Import issues from" });
  if (!pick) return;
  if (pick.source === "repository") {
    const name = await vscode.window.showInputBox({ title: "Import issues from", placeHolder: "owner/name", ignoreFocusOut: true });
    if (name) await confirmed(project, { case: "import", value: { trackers: [Tracker.GITHUB], repos: [name.trim()], since: "all" } });
    return;
  }
  const source = pick.source;
  const value = !source
    ? {}
    : source.tracker === Tracker.GITHUB
      ? { trackers: [source.tracker], repos: [source.name] }
      : source.tracker === Tracker.JIRA
        ? { trackers: [source.tracker], projectKeys: [source.name] }
        : { trackers: [source.tracker], adoOrg: source.server, adoProjects: [source.name] };
  await confirmed(project, { case: "import", value });
}

export async function sync(project: Project): Promise<void> {
  const { profiles } = await (await project.daemon.started()).listSources({ environment: await project.environment() });
  const picks = profiles.map((profile) => ({
    label: profile.id || (TRACKERS[profile.tracker] ?? ""),
    description: [profile.id ? (TRACKERS[profile.tracker] ?? "") : "", profile.isDefault ? "default" : ""].filter(Boolean).join(", "),
    profile,
  }));
  const pick = picks.length > 1 ? await vscode.window.showQuickPick(picks, { title: "Sync with" }) : picks[0];
  if (picks.length > 1 && !pick) return;
  await confirmed(project, { case: "sync", value: { profile: pick?.profile.id ?? "", tracker: pick?.profile.tracker ?? 0 } });
}

/** Shows what would be done and what it will cost, and starts it once somebody has said yes. */
async function confirmed(project: Project, work: Work): Promise<void> {
  const environment = await project.environment();
  const client = await project.daemon.started();
  const spec: Spec = { work };
  const preview = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: "Looking what there is to do…", cancellable: true },
    async (_progress, cancelled) => {
      const abort = new AbortController();
      cancelled.onCancellationRequested(() => abort.abort());
      try {
        return await client.previewJob({ spec, environment }, { signal: abort.signal, timeoutMs: 10 * 60_000 });
      } catch (error) {
        if (abort.signal.aborted) return undefined;
        throw error;
      }
    },
  );
  if (!preview) return;
  const verb = work.case === "clone" ? (work.value.update ? "Update" : "Clone") : work.case === "import" ? "Import" : "Sync";
  const lines = preview.items.slice(0, 12).map((item) => {
    const count = item.count === undefined ? "" : ` (${item.count})`;
    return `${word(Action, item.action)}  ${plain(item.name)}${count}${item.reason ? `: ${plain(item.reason)}` : ""}`;
  });
  if (preview.items.length > lines.length) lines.push(`and ${preview.items.length - lines.length} more`);
  lines.push(...preview.notes.map((note) => `(${plain(note)})`));
  const todo = preview.items.filter((item) => item.action !== Action.REFUSE && item.action !== Action.CHECK).length;
  const asked = `${verb}: ${preview.items.length === 0 ? "nothing to do" : `${todo} of ${preview.items.length}`}`;
  const choices = preview.items.length === 0 ? [] : [verb];
  const yes = await vscode.window.showInformationMessage(forMessage(asked), { modal: true, detail: lines.join("\n") }, ...choices);
  if (yes !== verb) return;
  // While somebody read that, the daemon may have left.
  await (await project.daemon.started()).startJob({ requestId: randomUUID(), spec, environment });
}
