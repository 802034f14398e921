// SpecWeave's own launcher of imports, which none of its commands calls any more.
// node specweave-import.mjs <node_modules/specweave> <project> <coordinatorConfig as JSON>
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const [specweave, project, config] = process.argv.slice(2);
const launcher = path.join(specweave, 'dist/src/core/background/job-launcher.js');
const { launchImportJob } = await import(pathToFileURL(launcher));
const { job, pid } = await launchImportJob({
  type: 'import-issues',
  projectPath: project,
  coordinatorConfig: JSON.parse(config),
});
console.log(JSON.stringify({ id: job.id, pid }));
