// A client of the TypeScript SDK that signs in: node - VERSION ERA CALLBACK_PORT. Each line of standard input asks for one
// thing, and each line of standard output is JSON: {"open": a URL for the person's browser}, {"asked": an elicitation},
// which the next line of input answers, and {"done": the names of the tools, a result, or null}.
import { createServer } from "node:http";
import { createInterface } from "node:readline";

const [version, era, port] = process.argv.slice(2);
const sdk = version === "1"
  ? {
      ...(await import("@modelcontextprotocol/sdk/client/auth.js")),
      ...(await import("@modelcontextprotocol/sdk/client/index.js")),
      ...(await import("@modelcontextprotocol/sdk/client/streamableHttp.js")),
      ...(await import("@modelcontextprotocol/sdk/types.js")),
    }
  : await import("@modelcontextprotocol/client");
const say = (line) => process.stdout.write(JSON.stringify(line) + "\n");

const arrivals = [];
const server = createServer((request, response) => {
  response.end("You may close this window.");
  const query = new URL(request.url, "http://127.0.0.1").searchParams;
  if (query.has("state")) arrivals.shift()?.(query);
});
await new Promise((resolve) => server.listen(Number(port), "127.0.0.1", resolve));

const redirectUrl = `http://127.0.0.1:${server.address().port}/callback`;
const kept = {};
const provider = {
  redirectUrl,
  clientMetadata: { client_name: `TypeScript ${version}`, redirect_uris: [redirectUrl] },
  state: () => "the state",
  clientInformation: () => kept.client,
  saveClientInformation: (client) => { kept.client = client; },
  tokens: () => kept.tokens,
  saveTokens: (tokens) => { kept.tokens = tokens; },
  redirectToAuthorization: (to) => say({ open: String(to) }),
  saveCodeVerifier: (verifier) => { kept.verifier = verifier; },
  codeVerifier: () => kept.verifier,
};

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const next = async () => JSON.parse((await lines.next()).value);

const made = (elicitation) => {
  const options = { capabilities: elicitation ? { elicitation } : {} };
  if (version !== "1") options.versionNegotiation = { mode: era };
  const client = new sdk.Client({ name: "first", version: "1.0.0" }, options);
  const ask = async ({ params }) => { say({ asked: params }); return next(); };
  if (elicitation) client.setRequestHandler(version === "1" ? sdk.ElicitRequestSchema : "elicitation/create", ask);
  return client;
};

let client;
const asked = {
  connect: async ({ url, elicitation }) => {
    const transport = new sdk.StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
    const arrived = new Promise((resolve) => arrivals.push(resolve));
    try {
      await (client = made(elicitation)).connect(transport);
      return null;
    } catch (error) {
      if (!(error instanceof sdk.UnauthorizedError)) throw error;
    }
    const query = await arrived;
    await transport.finishAuth(version === "1" ? query.get("code") : query);
    const again = new sdk.StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
    await (client = made(elicitation)).connect(again);
    return null;
  },
  tools: async () => (await client.listTools()).tools.map((tool) => tool.name),
  call: async (params) => client.callTool(params),
  close: async () => { await client.close(); return null; },
};
for (;;) {
  const { value, done } = await lines.next();
  if (done) break;
  const [[what, params]] = Object.entries(JSON.parse(value));
  say({ done: await asked[what](params) });
}
process.exit(0);
