// The vendors' own clients against the tests' fake trackers: what they can read, ours may rely on. Every issue of GitHub's
// face is held against GitHub's own description of its API.
//
// node trackers.mjs URL TOKEN ITEMS; the description is `github-api.json` beside this file.
// node trackers.mjs --requests FILE: holds what ours sent to GitHub against the same description.
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { Octokit } from "@octokit/rest";
import { Version3Client } from "jira.js";
import * as azure from "azure-devops-node-api";
import Ajv from "ajv";

const [url, token, items] = process.argv.slice(2);
const wanted = Number(items);

function githubs() {
  const description = JSON.parse(readFileSync(new URL("github-api.json", import.meta.url)));
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema({ $id: "api", components: asJsonSchema(description.components) });
  return { description, ajv, issue: ajv.compile({ $ref: "api#/components/schemas/issue" }) };
}

/** Every request of ours that GitHub would get: a path that it has, a body that it takes. */
function requests(file) {
  const { description, ajv } = githubs();
  const routes = ["/repos/{owner}/{repo}/issues", "/repos/{owner}/{repo}/issues/{issue_number}", "/repos/{owner}/{repo}/milestones"];
  let held = 0;
  for (const [line, body] of JSON.parse(readFileSync(file))) {
    const [method, path] = line.split(" ");
    const fits = (route) => new RegExp(`^/api/v3${route.replace(/\{\w+\}/g, "[^/]+")}$`).test(path);
    const route = routes.find(fits);
    assert.ok(route, line);
    const schema = description.paths[route][method.toLowerCase()]?.requestBody.content["application/json"].schema;
    assert.ok(schema, `${line} is no request of GitHub's`);
    const validate = ajv.compile(asJsonSchema(schema));
    assert.ok(validate(body), JSON.stringify([line, body, validate.errors]));
    for (const key of Object.keys(body)) assert.ok(key in schema.properties, `${line} knows no ${key}`);
    held += 1;
  }
  return held;
}

/** What JSON Schema calls it: OpenAPI 3.0 says `nullable`. */
function asJsonSchema(node) {
  if (Array.isArray(node)) return node.map(asJsonSchema);
  if (node === null || typeof node !== "object") return node;
  const { nullable, example, examples, ...rest } = node;
  const schema = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, asJsonSchema(value)]));
  return nullable ? { anyOf: [{ type: "null" }, schema] } : schema;
}

async function github() {
  const { issue: validate } = githubs();
  const octokit = new Octokit({ auth: token, baseUrl: `${url}/api/v3`, log: { debug() {}, info() {}, warn() {}, error() {} } });
  const issues = await octokit.paginate(octokit.rest.issues.listForRepo, {
    owner: "acme", repo: "web", state: "all", sort: "updated", direction: "asc", per_page: 100,
  });
  assert.equal(new Set(issues.map((issue) => issue.number)).size, wanted);
  for (const issue of issues) {
    assert.ok(validate(issue), JSON.stringify([issue.number, validate.errors?.slice(0, 3)]));
  }
  // The oracle is one: what is no issue is told.
  const { user, number, ...broken } = issues[0];
  assert.ok(!validate({ ...broken, number: "1" }), "a broken issue is not valid");
  const found = await octokit.rest.search.issuesAndPullRequests({ q: "repo:acme/web is:issue", per_page: 1 });
  assert.equal(found.data.total_count, wanted);
  await assert.rejects(octokit.rest.issues.listForRepo({ owner: "acme", repo: "nowhere" }), { status: 404 });
  return [issues.length, () => githubWrites(octokit, validate)];
}

async function githubWrites(octokit, validate) {
  const at = { owner: "acme", repo: "web" };
  const milestone = await octokit.rest.issues.createMilestone({ ...at, title: "FS-001: First" });
  await assert.rejects(octokit.rest.issues.createMilestone({ ...at, title: "FS-001: First" }), { status: 422 });
  const made = await octokit.rest.issues.create({ ...at, title: "Made", body: "text", labels: ["a"], milestone: milestone.data.number });
  const issue_number = made.data.number;
  assert.equal(made.status, 201);
  const closed = await octokit.rest.issues.update({ ...at, issue_number, state: "closed", state_reason: "not_planned", labels: ["b"] });
  assert.deepEqual([closed.data.state, closed.data.state_reason, closed.data.labels.map((label) => label.name)], ["closed", "not_planned", ["b"]]);
  assert.ok(validate((await octokit.rest.issues.get({ ...at, issue_number })).data), JSON.stringify(validate.errors));
}

async function jira() {
  const client = new Version3Client({ host: url, authentication: { basic: { email: "dev@example.org", apiToken: token } } });
  const jql = 'project = "PAY" ORDER BY id ASC';
  const keys = new Set();
  let nextPageToken;
  do {
    const page = await client.issueSearch.searchForIssuesUsingJqlEnhancedSearch({
      jql, maxResults: 100, fields: ["summary", "status", "updated"], ...(nextPageToken ? { nextPageToken } : {}),
    });
    page.issues.forEach((issue) => keys.add(issue.key));
    nextPageToken = page.nextPageToken;
  } while (nextPageToken);
  assert.equal(keys.size, wanted);
  const about = await client.serverInfo.getServerInfo();
  assert.equal(about.deploymentType, "Cloud");
  return [keys.size, () => jiraWrites(client)];
}

async function jiraWrites(client) {
  const text = (text) => ({ type: "doc", version: 1, content: [{ type: "paragraph", content: [{ type: "text", text }] }] });
  const made = await client.issues.createIssue({
    fields: { project: { key: "PAY" }, issuetype: { name: "Story" }, summary: "Made", description: text("one"), labels: ["a"] },
    properties: [{ key: "specweave-jobs", value: { marker: "m" } }],
  });
  await client.issues.editIssue({ issueIdOrKey: made.key, fields: { summary: "Changed" }, update: { labels: [{ add: "b" }, { remove: "a" }] } });
  const { transitions } = await client.issues.getTransitions({ issueIdOrKey: made.key });
  const done = transitions.find((way) => way.to.statusCategory.key === "done");
  await client.issues.doTransition({ issueIdOrKey: made.key, transition: { id: done.id } });
  const issue = await client.issues.getIssue({ issueIdOrKey: made.key });
  assert.deepEqual([issue.fields.summary, issue.fields.labels, issue.fields.status.name], ["Changed", ["b"], "Done"]);
  await assert.rejects(client.issues.createIssue({ fields: { project: { key: "PAY" }, issuetype: { name: "Story" } } }));
}

async function ado() {
  const connection = new azure.WebApi(`${url}/acme`, azure.getPersonalAccessTokenHandler(token), { allowRetries: false });
  const api = await connection.getWorkItemTrackingApi();
  const project = "Nova CAD";
  const query = { query: "SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project ORDER BY [System.Id]" };
  const found = await api.queryByWiql(query, { project }, true, 19_999);
  assert.equal(found.workItems.length, wanted);
  const ids = found.workItems.slice(0, 200).map((item) => item.id);
  const batch = await api.getWorkItemsBatch({ ids, $expand: 2 }, project);
  assert.deepEqual(batch.map((item) => item.id), ids);
  assert.ok(batch.every((item) => item.rev > 0 && item.fields["System.Title"] && item.fields["System.AreaPath"]));
  const seen = new Set();
  let token_;
  for (;;) {
    const feed = await api.readReportingRevisionsGet(project, undefined, undefined, token_, undefined, undefined, true, undefined, true, 1, undefined, 200);
    feed.values.forEach((revision) => seen.add(revision.id));
    token_ = feed.continuationToken;
    if (feed.isLastBatch) break;
  }
  assert.equal(seen.size, wanted);
  return [seen.size, () => adoWrites(api, project)];
}

async function adoWrites(api, project) {
  const set = (field, value) => ({ op: "add", path: `/fields/${field}`, value });
  const made = await api.createWorkItem(undefined, [set("System.Title", "Made"), set("System.Tags", "a; only-here")], project, "User Story");
  const guarded = (rev, value) => api.updateWorkItem(undefined, [{ op: "test", path: "/rev", value: rev }, set("System.State", value)], made.id, project);
  const closed = await guarded(made.rev, "Closed");
  assert.equal(closed.fields["System.State"], "Closed");
  await assert.rejects(guarded(made.rev, "Active"), { statusCode: 412 });
  const types = await api.getWorkItemTypes(project);
  assert.ok(types.some((type) => type.name === "User Story"));
  const states = await api.getWorkItemTypeStates(project, "User Story");
  assert.ok(states.some((state) => state.category === "Completed"));
  const tagged = await api.queryByWiql({ query: "SELECT [System.Id] FROM WorkItems WHERE [System.TeamProject] = @project AND [System.Tags] CONTAINS 'only-here' ORDER BY [System.Id]" }, { project });
  assert.deepEqual(tagged.workItems.map((item) => item.id), [made.id]);
}

if (url === "--requests") {
  console.log(JSON.stringify({ requests: requests(token) }));
} else {
  // All three look at one world: what is read comes before what is written.
  const faces = { github: await github(), jira: await jira(), ado: await ado() };
  for (const [, write] of Object.values(faces)) await write();
  const counts = Object.entries(faces).map(([name, [count]]) => [name, count]);
  console.log(JSON.stringify(Object.fromEntries(counts)));
}
