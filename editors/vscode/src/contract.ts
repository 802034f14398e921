// The client of a daemon, and what its errors say. It is loaded with the first daemon that there is to talk to: schemas and Node's
// HTTP/2 take longer to begin than all the rest of the extension.
import { Code, ConnectError, type Client, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import * as net from "node:net";
import { ErrorInfo } from "./error-info";
import { JobsService } from "../gen/specweave/jobs/v1/jobs_pb";

export type JobsClient = Client<typeof JobsService>;

/** The client of the daemon that listens at this socket; a call takes no longer than it may. */
export function clientOf(socket: string, defaultTimeoutMs: number): JobsClient {
  const transport = createGrpcTransport({
    baseUrl: "http://localhost",
    nodeOptions: { createConnection: () => net.connect(socket) },
    defaultTimeoutMs,
  });
  return createClient(JobsService, transport);
}

/** Whether a stream ended because the daemon was stopped by a person, or left as it had nothing to do: it is left alone. */
export function wantsRest(error: unknown): boolean {
  const told = ConnectError.from(error);
  if (told.code !== Code.Unavailable) return false;
  const [info] = told.findDetails(ErrorInfo);
  return info?.reason === "SHUTTING_DOWN" && ["asked", "idle"].includes(info.metadata["because"] ?? "");
}

/** Whether nobody listens there any more, or somebody who is leaving; a connection that breaks is called by other names. */
export function isNobody(error: unknown): boolean {
  return [Code.Unavailable, Code.Canceled, Code.Aborted].includes(ConnectError.from(error).code);
}

/** What an error of the daemon says, for people: its text, and the command or hint that goes with it. */
export function told(error: unknown): { text: string; reason: string; hint: string } {
  if (!(error instanceof ConnectError)) return { text: error instanceof Error ? error.message : String(error), reason: "", hint: "" };
  const [info] = error.findDetails(ErrorInfo);
  return { text: error.rawMessage, reason: info?.reason ?? "", hint: info?.metadata["hint"] ?? "" };
}
