// node package.mjs [FOLDER WITH THE PROGRAMS]: a VSIX for this platform, with the programs inside where a folder is named.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, statSync } from "node:fs";
import path from "node:path";

const programs = process.argv[2];
const target = `${process.platform}-${process.arch}`;
rmSync("bin", { recursive: true, force: true });
if (programs) {
  mkdirSync("bin");
  for (const name of ["specweave-jobs", "specweave-jobsd"]) cpSync(path.join(programs, name), path.join("bin", name));
}
execFileSync("node", ["build.mjs"], { stdio: "inherit" });
const file = programs ? `specweave-jobs-${target}.vsix` : "specweave-jobs.vsix";
const words = ["vsce", "package", "--no-dependencies", "--out", file, "--allow-missing-repository", "--no-rewrite-relative-links"];
execFileSync("npx", programs ? [...words, "--target", target] : words, { stdio: "inherit" });
const megabytes = statSync(file).size / 1e6;
console.log(`${file}: ${megabytes.toFixed(2)} MB`);
if (megabytes > 10) throw new Error("the package is larger than 10 MB");
