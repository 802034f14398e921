// Where the editor begins. Everything else is evaluated once the editor has gone on with its own start, which waits for this call.
import type * as vscode from "vscode";

export async function activate(context: vscode.ExtensionContext): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  const { Window } = await import("./window");
  new Window(context);
}
