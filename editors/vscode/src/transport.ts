// The way to a daemon's socket. Node's HTTP/2 takes longer to begin than all the rest of the extension: it is loaded where there is a
// daemon, and not before.
import { createGrpcTransport } from "@connectrpc/connect-node";
import * as net from "node:net";

export function transportTo(socket: string, defaultTimeoutMs: number) {
  return createGrpcTransport({
    baseUrl: "http://localhost",
    nodeOptions: { createConnection: () => net.connect(socket) },
    defaultTimeoutMs,
  });
}
