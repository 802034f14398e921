// Bundles the extension, or with --test its tests, each into one file that needs nothing beside the editor.
import { build } from "esbuild";
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync, statSync } from "node:fs";
import { basename, resolve } from "node:path";

if (!existsSync("gen")) execFileSync("npx", ["buf", "generate", "../../proto", "--template", "buf.gen.yaml"], { stdio: "inherit" });
// Beside its enums the generated contract has schemas, which take long to begin and which only these need before there is a daemon.
const SCHEMAS = ["contract.ts", "document.ts"];
const enumsAlone = {
  name: "enums-alone",
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /\/jobs_pb$/ }, ({ path, resolveDir, importer }) =>
      SCHEMAS.includes(basename(importer)) ? undefined : { path: resolve(resolveDir, `${path}.ts`), namespace: "enums" });
    onLoad({ filter: /./, namespace: "enums" }, ({ path }) => ({
      contents: readFileSync(path, "utf8").match(/^export enum [^}]*\}/gm).join("\n"), loader: "ts" }));
  },
};
const isTest = process.argv.includes("--test");
const common = { bundle: true, platform: "node", target: "node18", format: "cjs", external: ["vscode"], legalComments: "none", logLevel: "warning" };
if (isTest) {
  const entries = readdirSync("test").map((name) => `test/${name}`);
  await build({ ...common, entryPoints: entries, outdir: "dist/test" });
} else {
  await build({ ...common, entryPoints: ["src/extension.ts"], outfile: "dist/extension.js", minify: true, plugins: [enumsAlone] });
  const kilobytes = Math.ceil(statSync("dist/extension.js").size / 1000);
  console.log(`dist/extension.js: ${kilobytes} kB`);
  if (kilobytes > 250) throw new Error("the script is larger than 250 kB");
}
