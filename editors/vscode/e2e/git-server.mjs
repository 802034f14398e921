// A git server on this machine that takes its time: each fetch waits so many milliseconds. Repositories lie below a folder, several
// names may lead to one, and none of them changes: git is asked once for each answer, so that the server leaves the processors to
// what is tried.
import { spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import http from "node:http";
import path from "node:path";

async function all(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function ask(folder, words, protocol, body) {
  const git = spawn("git", ["upload-pack", ...words, folder], { env: { ...process.env, GIT_PROTOCOL: protocol }, stdio: ["pipe", "pipe", "ignore"] });
  // It may have heard enough before the end.
  git.stdin.on("error", () => undefined);
  git.stdin.end(body);
  return all(git.stdout);
}

export function serve(root, delay) {
  const known = new Map();
  const server = http.createServer(async (request, response) => {
    const [, name, rest] = /^\/(.+?\.git)\/(.+)$/.exec(request.url) ?? [];
    const folder = name && path.join(root, decodeURIComponent(name));
    if (!folder || !existsSync(folder)) return response.writeHead(404).end();
    const isList = rest.startsWith("info/refs");
    const protocol = request.headers["git-protocol"] ?? "";
    const [place, body] = [realpathSync(folder), await all(request)];
    const key = [place, rest, protocol, body.toString("base64")].join(" ");
    if (!known.has(key)) known.set(key, ask(place, isList ? ["--stateless-rpc", "--advertise-refs"] : ["--stateless-rpc"], protocol, body));
    const said = await known.get(key);
    if (isList) {
      response.writeHead(200, { "content-type": "application/x-git-upload-pack-advertisement" });
      response.end(Buffer.concat([Buffer.from("001e# service=git-upload-pack\n0000"), said]));
    } else {
      response.writeHead(200, { "content-type": "application/x-git-upload-pack-result" });
      setTimeout(() => response.end(said), delay());
    }
  });
  return new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve({ server, url: `http://127.0.0.1:${server.address().port}` })));
}
