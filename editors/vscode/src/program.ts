// Where the program is: the setting, what came with the extension, else PATH.
import * as fs from "node:fs";
import * as path from "node:path";
import * as vscode from "vscode";

export function program(extension: vscode.ExtensionContext): string {
  // A workspace that is not trusted does not say which program runs: the editor itself leaves its value out.
  const set = vscode.workspace.getConfiguration("specweaveJobs").get<string>("program", "").trim();
  if (set) return set;
  const own = path.join(extension.extensionPath, "bin", "specweave-jobs");
  return fs.existsSync(own) ? own : "specweave-jobs";
}
