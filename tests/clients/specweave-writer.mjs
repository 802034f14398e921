// SpecWeave's own job manager at work: four jobs, updated in turn as fast as it can, until standard input ends.
// node specweave-writer.mjs <node_modules/specweave> <project>
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [specweave, project] = process.argv.slice(2);
const module = path.join(specweave, 'dist/src/core/background/job-manager.js');
const { BackgroundJobManager } = await import(pathToFileURL(module));
const manager = new BackgroundJobManager(project);
const config = { type: 'living-docs-builder', projectPath: project, userInputs: {} };
const jobs = [0, 1, 2, 3].map(() => manager.createJob('living-docs-builder', config, 1_000_000).id);
jobs.forEach((id) => manager.startJob(id));

let ended = false;
process.stdin.on('end', () => (ended = true)).resume();
let [count, refused] = [0, 0];
while (!ended) {
  count += 1;
  for (const id of jobs) if (!manager.updateProgress(id, count, `item ${count}`)) refused += 1;
  await new Promise((resolve) => setImmediate(resolve));
}
console.log(JSON.stringify({ jobs, count, refused }));
