// node package.mjs [FOLDER WITH THE PROGRAMS] [PLATFORM]: a VSIX with the programs inside where a folder is named, for this
// platform or the one that is named as Visual Studio Code names it (`darwin-arm64`), whose programs were built there.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import path from "node:path";

const programs = process.argv[2];
const target = process.argv[3] ?? `${process.platform}-${process.arch}`;

// What a program begins with, by the platform that runs it: the kind of its file, and the processor at a place in it.
const formats = {
  "linux-x64": { magic: 0x7f454c46, at: 18, processor: 62 },
  "linux-arm64": { magic: 0x7f454c46, at: 18, processor: 183 },
  "darwin-x64": { magic: 0xcffaedfe, at: 4, processor: 7 },
  "darwin-arm64": { magic: 0xcffaedfe, at: 4, processor: 12 },
};
const runsThere = (program) => {
  const format = formats[target];
  if (!format) throw new Error(`there is no platform ${target}; there are ${Object.keys(formats).join(", ")}`);
  const head = readFileSync(program).subarray(0, 20);
  return head.readUInt32BE(0) === format.magic && head.readUInt16LE(format.at) === format.processor;
};

rmSync("bin", { recursive: true, force: true });
if (programs) {
  mkdirSync("bin");
  for (const name of ["specweave-jobs", "specweave-jobsd"]) {
    const program = path.join(programs, name);
    if (!runsThere(program)) throw new Error(`${program} was not built for ${target}`);
    cpSync(program, path.join("bin", name));
  }
}
execFileSync("node", ["build.mjs"], { stdio: "inherit" });
const file = programs ? `specweave-jobs-${target}.vsix` : "specweave-jobs.vsix";
const words = ["vsce", "package", "--no-dependencies", "--out", file, "--allow-missing-repository", "--no-rewrite-relative-links"];
execFileSync("npx", programs ? [...words, "--target", target] : words, { stdio: "inherit" });
const megabytes = statSync(file).size / 1e6;
console.log(`${file}: ${megabytes.toFixed(2)} MB`);
if (megabytes > 10) throw new Error("the package is larger than 10 MB");
