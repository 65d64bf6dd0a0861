// The official TypeScript helper for tasks, as a client of a portal: runs one program and prints what came of it.
// Its argument is JSON: {url, program}. It shows each link that it is asked to on a line of its own, and accepts.
import { resultFromTaskOutcome, withTasks } from "@modelcontextprotocol/ext-tasks/client";

const { url, program } = JSON.parse(process.argv[2]);
const VERSION = "2026-07-28";
const ENVELOPE = {
  "io.modelcontextprotocol/protocolVersion": VERSION,
  "io.modelcontextprotocol/clientInfo": { name: "ext-tasks", version: "0.2.2" },
  "io.modelcontextprotocol/clientCapabilities": {
    elicitation: { form: {}, url: {} },
    extensions: { "io.modelcontextprotocol/tasks": {} },
  },
};
const seen = [];
let count = 0;

const port = {
  endpointId: url,
  taskCapabilities: { generation: "v2", capabilities: {} },
  invalidated: false,
  async dispatch(request, options) {
    const params = { ...request.params, _meta: { ...request.params?._meta, ...ENVELOPE } };
    seen.push(request.method);
    const headers = new Headers({
      "content-type": "application/json",
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": VERSION,
      "mcp-method": request.method,
    });
    const named = params.taskId ?? params.name;
    if (named !== undefined) headers.set("mcp-name", named);
    for (const [name, value] of Object.entries(options?.context?.headers ?? {})) headers.set(name, value);
    const answer = await fetch(url, {
      method: "POST",
      signal: options?.signal,
      headers,
      body: JSON.stringify({ ...request, jsonrpc: "2.0", id: ++count, params }),
    });
    const text = await answer.text();
    const found = JSON.parse(text.startsWith("{") ? text : text.match(/^data: ?(\{.*"id".*)$/m)[1]);
    return found.error ? { kind: "error", error: found.error } : { kind: "result", result: found.result };
  },
  onServerRequest: () => () => {},
  onNotification: () => () => {},
  onInvalidated: () => () => {},
};

const session = withTasks(port, {
  async onInputRequest(request) {
    process.stdout.write(`${JSON.stringify({ asked: request.params.url })}\n`);
    return { action: "accept" };
  },
});
const execution = await session.callTool("code", { code: program });
const { outcome } = await execution.settle();
const result = resultFromTaskOutcome(outcome);
process.stdout.write(`${JSON.stringify({ result: result.structuredContent.result, seen: [...new Set(seen)] })}\n`);
await session.close();
