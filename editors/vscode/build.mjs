// Bundles the extension, or with --test its tests, each into one file that needs nothing beside the editor.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";

if (!existsSync("gen")) execFileSync("npx", ["buf", "generate", "../../proto", "--template", "buf.gen.yaml"], { stdio: "inherit" });
const isTest = process.argv.includes("--test");
const common = { bundle: true, platform: "node", target: "node18", format: "cjs", external: ["vscode"], legalComments: "none", logLevel: "warning" };
if (isTest) {
  const entries = readdirSync("test").map((name) => `test/${name}`);
  await build({ ...common, entryPoints: entries, outdir: "dist/test" });
} else {
  await build({ ...common, entryPoints: ["src/extension.ts"], outfile: "dist/extension.js", minify: true });
  const kilobytes = Math.ceil(statSync("dist/extension.js").size / 1000);
  console.log(`dist/extension.js: ${kilobytes} kB`);
  if (kilobytes > 250) throw new Error("the script is larger than 250 kB");
}
