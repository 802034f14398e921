// The official SDK of the Model Context Protocol talks with specweave-jobs-mcp: its tools, a job from beginning to end, and
// what is refused.
// node mcp.mjs <specweave-jobs-mcp> <project> <source> <a source that there is not>
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';

const [command, cwd, source, missing] = process.argv.slice(2);
const client = new Client({ name: 'test', version: '1' });
await client.connect(new StdioClientTransport({ command, cwd, env: { ...process.env } }));
const tell = (value) => console.log(JSON.stringify(value));
const call = async (name, args) => {
  const result = await client.callTool({ name, arguments: args });
  return [result.isError === true, result.structuredContent ?? result.content[0].text];
};

const { tools } = await client.listTools();
tell({ server: client.getServerVersion().name, tools: tools.map((tool) => tool.name) });
tell({ readOnly: tools.filter((tool) => tool.annotations.readOnlyHint).map((tool) => tool.name) });

const [, preview] = await call('preview', { work: 'clone', sources: [source] });
tell({ preview: preview.items.map((item) => item.action) });
const [, started] = await call('start', { work: 'clone', sources: [source, missing] });
const id = started.id;
const [, ended] = await call('wait', { job: id, timeout_seconds: 30 });
tell({ ended: ended.state, failed: ended.progress.failed_items });
const [, shown] = await call('show', { job: id.slice(0, 4) });
tell({ shown: shown.job.id === id, why: shown.failed_items[0].failure.message });
const [, listed] = await call('list', { all: true });
tell({ listed: listed.jobs.map((job) => job.id === id) });
tell({ resumed: (await call('resume', { job: id }))[0] });
await call('wait', { job: id, timeout_seconds: 30 });
tell({ kill: await call('kill', { job: id }) });
tell({ unknown: await call('show', { job: 'zzzzzzzz' }) });
tell({ conflicts: await call('conflicts', {}) });
tell({ conflict: (await call('resolve', { story: 'US-001', use: 'local' }))[1].error?.reason });
tell({ option: await call('show', { job: '--help' }) });
tell({ wrong: await call('start', { work: 'clone', shell: 'rm' }) });
await client.close();
