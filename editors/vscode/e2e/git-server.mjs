// A git server on this machine that takes its time: each fetch waits so many milliseconds. Repositories lie below a folder.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import http from "node:http";
import path from "node:path";

export function serve(root, delay) {
  const server = http.createServer((request, response) => {
    const [, name, rest] = /^\/(.+?\.git)\/(.+)$/.exec(request.url) ?? [];
    const folder = name && path.join(root, decodeURIComponent(name));
    if (!folder || !existsSync(folder)) return response.writeHead(404).end();
    const protocol = request.headers["git-protocol"] ?? "";
    const git = (words) =>
      spawn("git", ["upload-pack", ...words, folder], { env: { ...process.env, GIT_PROTOCOL: protocol }, stdio: ["pipe", "pipe", "ignore"] });
    if (rest.startsWith("info/refs")) {
      response.writeHead(200, { "content-type": "application/x-git-upload-pack-advertisement" });
      response.write("001e# service=git-upload-pack\n0000");
      git(["--stateless-rpc", "--advertise-refs"]).stdout.pipe(response);
    } else {
      response.writeHead(200, { "content-type": "application/x-git-upload-pack-result" });
      const child = git(["--stateless-rpc"]);
      request.pipe(child.stdin);
      setTimeout(() => child.stdout.pipe(response), delay());
    }
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve({ server, url: `http://127.0.0.1:${server.address().port}` })));
}
