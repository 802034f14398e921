// The vendors' own clients against the tests' fake trackers: what they can read, ours may rely on. Every issue of GitHub's
// face is held against GitHub's own description of its API.
//
// node trackers.mjs URL TOKEN ITEMS; the description is `github-api.json` beside this file.
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { Octokit } from "@octokit/rest";
import { Version3Client } from "jira.js";
import * as azure from "azure-devops-node-api";
import Ajv from "ajv";

const [url, token, items] = process.argv.slice(2);
const wanted = Number(items);

/** What JSON Schema calls it: OpenAPI 3.0 says `nullable`. */
function asJsonSchema(node) {
  if (Array.isArray(node)) return node.map(asJsonSchema);
  if (node === null || typeof node !== "object") return node;
  const { nullable, example, examples, ...rest } = node;
  const schema = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, asJsonSchema(value)]));
  return nullable ? { anyOf: [{ type: "null" }, schema] } : schema;
}

async function github() {
  const description = JSON.parse(readFileSync(new URL("github-api.json", import.meta.url)));
  const ajv = new Ajv({ strict: false, validateFormats: false, allErrors: true });
  ajv.addSchema({ $id: "api", components: asJsonSchema(description.components) });
  const validate = ajv.compile({ $ref: "api#/components/schemas/issue" });
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
  return issues.length;
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
  return keys.size;
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
  return seen.size;
}

console.log(JSON.stringify({ github: await github(), jira: await jira(), ado: await ado() }));
